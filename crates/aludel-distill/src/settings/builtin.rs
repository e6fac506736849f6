//! Recipes that come with the binary, by name. The settings are defined in the other files.

/// The prefix that distinguishes a built-in recipe from a file: `builtin:seed`.
pub const BUILTIN_PREFIX: &str = "builtin:";

/// The recipes that come with the binary: name and TOML.
pub const BUILTIN_RECIPES: [(&str, &str); 1] = [("seed", include_str!("seed.toml"))];
