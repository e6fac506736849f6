//! Which settings each command reads, so that `--set` of any other is refused where it is typed, with what to give instead. A recipe file
//! is for several commands, and is not checked here.

use super::{Assignment, Flags};
use aludel_distill::settings::{Problem, section_names, setting_names};

/// The settings that a command reads.
#[derive(Debug)]
pub(crate) struct Scope {
    /// The command as it is typed.
    command: &'static str,
    /// The option that makes it this use of the command, where there are several uses.
    used_with: &'static str,
    /// Names of sections, and of single settings with their section before them.
    reads: &'static [&'static [&'static str]],
}

/// What a training run is made of.
const RUN: &[&str] = &["student", "lora", "train", "distill", "data"];
/// How weights are held and computed with.
const COMPUTING: &[&str] = &[
    "student.attention",
    "student.device",
    "student.dtype",
    "student.instruction_set",
    "student.quantize",
    "student.threads",
];
/// A student, and the rows that its template makes of records.
const ROWS: &[&str] = &[
    "student.model",
    "student.add_tokens",
    "data.columns",
    "data.answer_tags",
    "data.loss_on",
    "data.skip_bad_rows",
    "data.allow_cut_reasoning",
];
const TEMPLATE: &[&str] = &["data.template_date", "data.template_variables"];
const TEACHER: &[&str] = &[
    "distill.teacher",
    "distill.teacher_adapter",
    "distill.teacher_dtype",
    "distill.teacher_quantize",
    "distill.teacher_tokens_per_pass",
    "distill.pair_check",
];
/// What a teacher in this process sees that the student does not.
const TEACHER_CONTEXT: &[&str] = &["distill.teacher_system", "distill.teacher_context_column"];
/// A teacher in this process that answers prompts.
const LOCAL_TEACHER: &[&str] = &[
    "distill.teacher_adapter",
    "distill.teacher_dtype",
    "distill.teacher_quantize",
    "student.attention",
    "student.device",
    "student.instruction_set",
    "student.threads",
];
/// Answers that a student writes to the prompts of rows.
const OWN_ANSWERS: &[&str] = &["distill.max_new_tokens", "distill.sampling_temperature"];
/// Passes over rows without training.
const PASSES: &[&str] = &["data.files", "data.long_rows", "train.max_length", "train.tokens_per_pass"];
/// How a server is asked, beside what it is asked.
const SERVER: &[&str] = &[
    "trace.api_key_env",
    "trace.api_key_file",
    "trace.connect_timeout",
    "trace.dialect",
    "trace.extra_body",
    "trace.give_up_after",
    "trace.grace",
    "trace.headers",
    "trace.idle_timeout",
    "trace.max_attempts",
    "trace.model",
    "trace.preset",
    "trace.request_timeout",
    "trace.requests_per_minute",
    "trace.stream",
    "trace.tokens_per_minute",
];
const PROMPTS: &[&str] = &["trace", "data.columns", "data.answer_tags", "data.skip_bad_rows"];

impl Scope {
    pub(super) const fn new(
        command: &'static str,
        used_with: &'static str,
        reads: &'static [&'static [&'static str]],
    ) -> Scope {
        Scope { command, used_with, reads }
    }
}

pub(crate) const TRAIN: Scope = Scope::new("aludel train", "", &[RUN]);
/// Inspection shows what a run would do, and takes that run's settings.
pub(crate) const INSPECT: Scope = Scope::new("aludel inspect", "", &[RUN]);
pub(crate) const BENCH_TRAIN: Scope = Scope::new(
    "aludel bench train",
    "",
    &[
        COMPUTING,
        TEACHER,
        &[
            "lora",
            "distill",
            "train.gradient_checkpointing",
            "train.init_adapter",
            "train.learning_rate",
            "train.seed",
            "train.tokens_per_pass",
        ],
    ],
);
pub(crate) const TRACE: Scope = Scope::new("aludel trace", "", &[PROMPTS, LOCAL_TEACHER, TEMPLATE]);
pub(crate) const PLAN_TRACE: Scope = Scope::new("aludel plan trace", "", &[PROMPTS, LOCAL_TEACHER, TEMPLATE]);
pub(crate) const CURATE: Scope = Scope::new("aludel curate", "", &[ROWS, TEMPLATE, &["curate", "student.threads"]]);
pub(crate) const CACHE: Scope = Scope::new(
    "aludel cache",
    "",
    &[
        ROWS,
        TEMPLATE,
        TEACHER,
        TEACHER_CONTEXT,
        PASSES,
        &[
            "data.eval_files",
            "distill.temperature",
            "student.device",
            "student.instruction_set",
            "student.threads",
            "train.seed",
        ],
    ],
);
pub(crate) const CHAT: Scope = Scope::new("aludel chat", "", &[COMPUTING, TEMPLATE, &["generate"]]);
pub(crate) const SERVE: Scope = Scope::new("aludel serve", "", &[COMPUTING, TEMPLATE, &["generate"]]);
pub(crate) const EVAL_TASKS: Scope = Scope::new("aludel eval", "--tasks", &[COMPUTING, TEMPLATE, &["data.columns"]]);
/// What `[data]` has for the template is refused by the server's file, with the reason.
pub(crate) const EVAL_SERVED: Scope = Scope::new("aludel eval", "--endpoint", &[SERVER, TEMPLATE, &["data.columns"]]);
pub(crate) const EVAL_LOSS: Scope = Scope::new(
    "aludel eval",
    "--loss",
    &[COMPUTING, ROWS, TEMPLATE, PASSES, &["distill.teacher_context_column", "train.init_adapter"]],
);
pub(crate) const EVAL_KL_TO: Scope = Scope::new(
    "aludel eval",
    "--kl-to",
    &[COMPUTING, ROWS, TEMPLATE, PASSES, TEACHER, TEACHER_CONTEXT, OWN_ANSWERS, &["train.init_adapter"]],
);

const ALL: [&Scope; 13] = [
    &TRAIN,
    &INSPECT,
    &BENCH_TRAIN,
    &TRACE,
    &PLAN_TRACE,
    &CURATE,
    &CACHE,
    &CHAT,
    &SERVE,
    &EVAL_TASKS,
    &EVAL_SERVED,
    &EVAL_LOSS,
    &EVAL_KL_TO,
];

impl Scope {
    /// Whether the command reads a setting, or the setting that this one is a part of.
    fn reads(&self, key: &str) -> bool {
        let is_in = |read: &&str| key.strip_prefix(read).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.reads.iter().any(|list| list.iter().any(is_in))
    }

    /// What is wrong with an assignment of a setting that exists and that the command does not read; the flags are those that it has.
    pub(super) fn refused(&self, given: &Assignment, flags: &Flags) -> Option<Problem> {
        let mut names = given.key.split('.');
        let (section, name) = (names.next()?, names.next()?);
        if self.reads(&given.key) || !setting_names(section).iter().any(|own| own == name) {
            return None;
        }
        let value = given.value.as_ref().map(ToString::to_string);
        let command = [self.command, self.used_with].join(" ");
        let reason = format!("`{}` does not read this setting, and it would have no effect", command.trim());
        let mut problem = Problem::new(&given.key, value, reason, self.instead(section, name, flags));
        problem.origin = Some(given.origin.clone());
        Some(problem)
    }

    /// What to give in place of a setting: the option for it, or for one of the same name; that setting; else who reads it.
    fn instead(&self, section: &str, name: &str, flags: &Flags) -> String {
        let key = format!("{section}.{name}");
        let same_name = |known: &str| known.split_once('.').is_some_and(|(_, known)| known == name);
        // A teacher that runs here has settings of its own for what a student's are called in other commands.
        let of_teacher = format!("distill.teacher_{name}");
        if section == "student" && self.reads(&of_teacher) {
            return format!("give --set {of_teacher}=VALUE");
        }
        let by_key = flags.known.iter().find(|(known, _)| *known == key);
        if let Some((_, flag)) = by_key.or_else(|| flags.known.iter().find(|(known, _)| same_name(known))) {
            return format!("give {flag}");
        }
        let here = section_names().into_iter().filter(|section| setting_names(section).iter().any(|own| own == name));
        let here: Vec<String> = here.map(|section| format!("{section}.{name}")).filter(|key| self.reads(key)).collect();
        if !here.is_empty() {
            return format!("give --set {}=VALUE", here.join("=VALUE or --set "));
        }
        let mut readers: Vec<String> = Vec::new();
        for scope in ALL.iter().filter(|scope| scope.reads(&key)) {
            let typed = [scope.command, scope.used_with].join(" ");
            // Of this command another use may read it.
            let reader = format!("`{}`", if scope.command == self.command { typed.trim() } else { scope.command });
            if !readers.contains(&reader) {
                readers.push(reader);
            }
        }
        match readers.as_slice() {
            [] => "leave it out".to_owned(),
            [one] => format!("leave it out; {one} reads it"),
            many => format!("leave it out; {} read it", many.join(", ")),
        }
    }
}

/// Whether a command, as it is typed, reads a setting in any of its uses.
pub(crate) fn is_read_by(command: &str, setting: &str) -> bool {
    ALL.iter().any(|scope| scope.command == command && scope.reads(setting))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    #[test]
    fn scopes_name_settings_and_commands_that_exist() {
        for scope in ALL {
            for read in scope.reads.iter().copied().flatten() {
                let exists = match read.split_once('.') {
                    None => section_names().iter().any(|section| section == read),
                    Some((section, name)) => setting_names(section).iter().any(|own| own == name),
                };
                assert!(exists, "{}: {read}", scope.command);
            }
        }
    }

    /// A command that takes `--set` and has no scope would be told of no option by its settings.
    #[test]
    fn every_command_with_set_has_a_scope() {
        let mut with_set = Vec::new();
        cli::walk(&cli::command(), "aludel", &mut |command, path| {
            if command.get_arguments().any(|arg| arg.get_id() == "assignments") {
                with_set.push(path.to_owned());
            }
        });
        with_set.sort();
        let mut scopes: Vec<String> = ALL.iter().map(|scope| scope.command.to_owned()).collect();
        scopes.sort();
        scopes.dedup();
        assert_eq!(scopes, with_set);
    }

    /// Each setting is of use somewhere.
    #[test]
    fn every_setting_is_read_by_a_command() {
        for section in section_names() {
            for name in setting_names(&section) {
                let key = format!("{section}.{name}");
                assert!(ALL.iter().any(|scope| scope.reads(&key)), "{key}");
            }
        }
    }
}
