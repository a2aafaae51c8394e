"""Full configurations as functions, named for what they run on."""
