#include "load.h"

#include <cstring>
#include <memory>
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

Program read(const std::shared_ptr<Pages>& pages, bool check_digest) {
    try {
        Container container = open(pages);
        if (container.version == 3) restore(container);
        bool same = !check_digest || digest(container) == container.sha256;
        require(same, "the content does not match its sha256: the file was changed or damaged; get it again");
        Program program = decode(parse_graph(container.graph), container);
        verify(program);
        return program;
    } catch (const std::bad_alloc&) {
        refuse("too little memory for a file of ", pages->size(), " bytes");
    }
}

std::shared_ptr<Pages> copied(const uint8_t* data, size_t size) {
    try {
        auto pages = std::make_shared<Pages>(size);
        if (size) std::memcpy(pages->data(), data, size);
        return pages;
    } catch (const std::bad_alloc&) {
        refuse("too little memory for a file of ", size, " bytes");
    }
}

}  // namespace

Program load(const uint8_t* data, size_t size) { return read(copied(data, size), true); }

Program load_file(int descriptor) { return read(read_pages(descriptor), true); }

Program ir::load_without_digest(const uint8_t* data, size_t size) { return read(copied(data, size), false); }

}  // namespace dqt
