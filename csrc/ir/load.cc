#include "load.h"

#include <new>

#include "decode.h"
#include "packed.h"
#include "unchecked.h"
#include "verify.h"

namespace dqt {
namespace {

using namespace ir;

json::Value parse_graph(const std::string& text) {
    try {
        return json::parse(text, json::Surrogates::keep);
    } catch (const json::Error& error) {
        refuse("graph: ", error.what());
    }
}

Program read(const uint8_t* data, size_t size, bool check_digest) {
    try {
        Container container = open(data, size);
        if (container.version == 3) restore(container);
        bool same = !check_digest || digest(container) == container.sha256;
        require(same, "the content does not match its sha256: the file was changed or damaged; get it again");
        Program program = decode(parse_graph(container.graph), container);
        verify(program);
        return program;
    } catch (const std::bad_alloc&) {
        refuse("too little memory for a file of ", size, " bytes");
    }
}

}  // namespace

Program load(const uint8_t* data, size_t size) { return read(data, size, true); }

Program ir::load_without_digest(const uint8_t* data, size_t size) { return read(data, size, false); }

}  // namespace dqt
