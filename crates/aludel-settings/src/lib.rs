//! What sections of a recipe share, whichever crate they are in: `problem` says what is wrong with a setting, `shapes` reads values that
//! may be written in two ways. The settings themselves belong to the crates that use them; `aludel-distill` composes the recipe.

mod problem;
mod shapes;

pub use problem::{Checker, LISTS_SECTIONS, LISTS_SETTINGS, Notice, Problem, Problems};
pub use shapes::{OneOrMany, count_or_minus_one, one_or_many};
