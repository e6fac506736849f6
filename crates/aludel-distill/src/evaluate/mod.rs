//! Evaluation: problems become samples, samples become scores. This room knows tasks, estimators and the folder of results; how
//! tokens come about is the engine's business, whether an answer is right that of `verify`.

pub mod compare;
pub mod failed;
pub mod paired;
pub mod results;
