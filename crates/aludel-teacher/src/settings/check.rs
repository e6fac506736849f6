//! What of `[trace]` is refused before the first request: missing settings, and values out of range.

use super::TraceSettings;
use crate::client::Preset;
use aludel_settings::{Checker, Problem};

impl TraceSettings {
    /// What collecting cannot start without: prompts, a teacher, a model and a store.
    pub fn missing(&self) -> Vec<Problem> {
        let mut problems = self.unusable_locally();
        let mut need = |is_there: bool, key: &str, reason: &str, mend: &str| {
            if !is_there {
                problems.push(Problem::missing(&format!("trace.{key}"), reason, mend));
            }
        };
        let teacher = "give an address such as http://127.0.0.1:8000/v1: --teacher URL..., a model that runs here: --teacher FILE.gguf, or a \
                       preset: --preset NAME";
        need(
            !self.prompts.is_empty(),
            "prompts",
            "no prompts are named",
            "give one or more files: --prompts FILE..., or `prompts` in [trace]",
        );
        need(!self.teacher.is_empty() || self.preset.is_some(), "teacher", "no teacher is named", teacher);
        need(
            self.model.is_some() || self.local_teacher().is_some(),
            "model",
            "no model is named",
            "give the name by which the teacher knows it: --model NAME, or `model` in [trace]",
        );
        need(
            self.store.is_some(),
            "store",
            "no store is named for the traces",
            "give a file, which is made if it is not there: --store FILE.db, or `store` in [trace]",
        );
        if self.price().is_none() {
            let (needs, given) = match (self.prompt_price, self.completion_price) {
                (Some(_), None) => ("completion_price", Some("trace.prompt_price")),
                (None, Some(_)) => ("prompt_price", Some("trace.completion_price")),
                _ => ("completion_price", None),
            };
            let key = format!("trace.{needs}");
            match given {
                // The cost of one kind of tokens alone would be told as that of all.
                Some(given) => problems.push(Problem::missing(
                    &key,
                    &format!("{given} is given, and this price is not known"),
                    "give both, in dollars per million tokens: --prompt-price X --completion-price X; 0 costs nothing",
                )),
                None if self.max_cost.is_some() => problems.push(Problem::missing(
                    &key,
                    "trace.max_cost bounds the cost, and no price is known",
                    "give dollars per million tokens: --prompt-price X --completion-price X",
                )),
                None => {}
            }
        }
        problems
    }

    /// What has no meaning for a teacher on this machine, which no server stands before.
    fn unusable_locally(&self) -> Vec<Problem> {
        let Some(model) = self.local_teacher() else { return Vec::new() };
        let named = format!("trace.teacher names {}, a model that runs on this machine", model.display());
        let mut problems = Vec::new();
        if self.teacher.len() > 1 {
            problems.push(Problem::new(
                "trace.teacher",
                Some(self.teacher.join(", ")),
                "it names a model that runs on this machine, and another teacher beside it",
                "one model, or addresses of servers (http://HOST:PORT/v1) alone",
            ));
        }
        let given = [
            ("preset", self.preset.is_some()),
            ("dialect", self.dialect.is_some()),
            ("api_key_env", self.api_key_env.is_some()),
            ("api_key_file", self.api_key_file.is_some()),
            ("headers", !self.headers.is_empty()),
            ("extra_body", !self.extra_body.is_empty()),
        ];
        for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            let reason = format!("it is for servers, and {named}");
            let mend = "leave it out, or give the address of a server: --teacher http://HOST:PORT/v1";
            problems.push(Problem::new(&format!("trace.{key}"), None, reason, mend));
        }
        if self.top_logprobs.is_some() {
            let reason = format!("{named}, and only the log probabilities of its own tokens are kept");
            let mend =
                "leave it out (trace.logprobs keeps those); `aludel cache` keeps a model's distribution at every token";
            problems.push(Problem::new("trace.top_logprobs", None, reason, mend));
        }
        problems
    }

    /// Checks the values, and which of them exclude each other.
    pub fn check(&self, check: &mut Checker<'_>) {
        let are_named = self.prompts.iter().all(|path| !path.as_os_str().is_empty());
        check.that(are_named, "prompts", &self.prompts, "an empty path names nothing", "paths of data files");
        if let Some(preset) = &self.preset {
            let names: Vec<&str> = Preset::ALL.iter().map(|preset| preset.name()).collect();
            let known = Preset::named(preset).is_some();
            check.that(known, "preset", preset, "there is no such preset", &format!("one of {}", names.join(", ")));
        }
        check.that(
            self.api_key_env.is_none() || self.api_key_file.is_none(),
            "api_key_file",
            self.api_key_file.as_deref().unwrap_or("".as_ref()),
            "trace.api_key_env names a key, too",
            "either a variable or a file",
        );
        // What does not look like the name of a variable may be the key itself: it is not repeated.
        let is_name = |name: &String| {
            let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            !name.is_empty() && name.chars().all(is_letter) && !name.starts_with(|first: char| first.is_ascii_digit())
        };
        check.that(
            self.api_key_env.as_ref().is_none_or(is_name),
            "api_key_env",
            format_args!("…"),
            "this is not the name of an environment variable",
            "the name of the variable that holds the key, never the key",
        );
        self.check_sampling(check);
        self.check_pace(check);
    }

    fn check_sampling(&self, check: &mut Checker<'_>) {
        check.that(
            (1..=10_000).contains(&self.samples),
            "samples",
            self.samples,
            "it is a number of answers",
            "a whole number from 1 to 10,000",
        );
        check.sampling(self.temperature, self.top_p);
        check.that(
            self.top_logprobs.is_none_or(|count| count <= 100),
            "top_logprobs",
            self.top_logprobs,
            "no server gives that many alternatives",
            "a whole number from 0 to 100; most servers end at 20",
        );
        if let Some(seed) = self.seed {
            check.seed(seed);
        }
    }

    fn check_pace(&self, check: &mut Checker<'_>) {
        for (key, count) in [
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
            ("max_new_tokens", self.max_new_tokens.map(u64::from)),
            ("max_attempts", Some(u64::from(self.max_attempts))),
        ] {
            check.that(count != Some(0), key, 0, "nothing would ever be asked", "a whole number of 1 or more");
        }
        check.that(
            (1..=10_000).contains(&self.concurrency),
            "concurrency",
            self.concurrency,
            if self.concurrency == 0 { "nothing would ever be asked" } else { "no machine has that many connections" },
            "a whole number from 1 to 10,000",
        );
        for (key, price) in [
            ("prompt_price", self.prompt_price),
            ("completion_price", self.completion_price),
            ("max_cost", self.max_cost),
        ] {
            check.that(
                price.is_none_or(|price| (0.0..=1e9).contains(&price)),
                key,
                price,
                "it is an amount of dollars",
                "a number of 0 or more",
            );
        }
        for (key, seconds) in [
            ("connect_timeout", self.connect_timeout),
            ("idle_timeout", self.idle_timeout),
            ("request_timeout", self.request_timeout),
            ("give_up_after", self.give_up_after),
        ] {
            check.that(
                seconds > 0.0 && seconds <= 1e7,
                key,
                seconds,
                "it is a time in seconds",
                "a number above 0, for example 300",
            );
        }
        check.that(
            (0.0..=1e7).contains(&self.grace),
            "grace",
            self.grace,
            "it is a time in seconds",
            "a number of 0 or more",
        );
    }
}
