"""The long experiments: recipes, their driver, and the page of results made from what they recorded."""
