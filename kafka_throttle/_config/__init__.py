"""How the four doors (objects, mappings and TOML, the client's dict, the environment) become one configuration."""
