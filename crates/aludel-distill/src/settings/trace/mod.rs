//! `[trace]`: which teachers are asked what, how fast, and for how much. How asking goes stands with `collect`; keys have no
//! place in a recipe, only the names of the variable or file that holds one.

use super::problem::{Checker, Problem};
use super::shapes::{OneOrMany, one_or_many};
use aludel_traces::collect::{self, BOXED, Budget, Price, PromptFiles, Rates};
use aludel_traces::dataset::ReadOptions;
use aludel_traces::teacher::{Asking, Dialect, Endpoint, Preset, Prices, Timeouts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use toml::Table;

/// Which teachers are asked what, how fast, and for how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TraceSettings {
    /// Files of prompts, of any shape that data may have; answers are not needed. `data.columns` and `data.skip_bad_rows` hold
    /// for them, too.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<PathBuf>")]
    pub prompts: Vec<PathBuf>,
    /// The store of traces, a file that any number of runs may share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<PathBuf>,
    /// Addresses of teachers that serve the same model, such as "http://127.0.0.1:8000/v1".
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany<String>")]
    pub teacher: Vec<String>,
    /// What is known of a server beforehand (address, dialect, key variable, prices): "deepseek", "ollama", "vllm" or
    /// "llama.cpp".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// What the teachers speak: "openai" (/v1/chat/completions), or "ollama" for its own /api/chat. From the preset or the
    /// address where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Speech>,
    /// The model, as the teachers call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The environment variable that holds the key; the preset's where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// The file that holds the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// Further headers of each request, for what is no secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Further fields of each request, for example `{ chat_template_kwargs = { enable_thinking = true } }`.
    #[serde(skip_serializing_if = "Table::is_empty")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub extra_body: Table,
    /// Text below each question: "boxed" asks for the final answer within \boxed{}, any other text stands for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_suffix: Option<String>,
    /// Answers to each prompt.
    pub samples: u32,
    /// Sampling temperature.
    pub temperature: f64,
    /// Sample from the likeliest tokens that together reach this probability; 1 takes all.
    pub top_p: f64,
    /// The most tokens of an answer, reasoning included; the server's own limit where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<u32>,
    /// Where the servers' random numbers start; sample i is asked with seed + i.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Keep the log probability of each token.
    pub logprobs: bool,
    /// Keep those of this many alternatives to each token, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<u8>,
    /// Take answers as a stream, so that a stalled server shows early.
    pub stream: bool,
    /// The most questions at once at each teacher; fewer as long as more bring nothing.
    pub concurrency: usize,
    /// The most questions a minute at each teacher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u64>,
    /// The most tokens a minute at each teacher, of questions and answers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
    /// Dollars per million tokens of questions; the preset's where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_price: Option<f64>,
    /// Dollars per million tokens of reasoning and answers; the preset's where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_price: Option<f64>,
    /// Dollars that the traces of the store may cost in all, earlier runs included; the run stops before it exceeds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cost: Option<f64>,
    /// Tokens that the traces of the store may take in all, earlier runs included; the run stops before it exceeds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_total_tokens: Option<u64>,
    /// Seconds to wait for a connection.
    pub connect_timeout: f64,
    /// Seconds to wait for the next piece of a stream.
    pub idle_timeout: f64,
    /// Seconds to wait for a whole answer.
    pub request_timeout: f64,
    /// Failures of one question, refusals for load aside, after which it is left for another run.
    pub max_attempts: u32,
    /// Seconds without any answer after which the run stops.
    pub give_up_after: f64,
    /// Seconds that a stopped run waits for answers on their way.
    pub grace: f64,
}

/// What a teacher speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Speech {
    /// `/v1/chat/completions`.
    OpenAi,
    /// Ollama's own `/api/chat`.
    Ollama,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            prompts: Vec::new(),
            store: None,
            teacher: Vec::new(),
            preset: None,
            dialect: None,
            model: None,
            api_key_env: None,
            api_key_file: None,
            headers: BTreeMap::new(),
            extra_body: Table::new(),
            prompt_suffix: None,
            samples: 1,
            temperature: 0.6,
            top_p: 0.95,
            max_new_tokens: None,
            seed: None,
            logprobs: false,
            top_logprobs: None,
            stream: true,
            concurrency: 64,
            requests_per_minute: None,
            tokens_per_minute: None,
            prompt_price: None,
            completion_price: None,
            max_cost: None,
            max_total_tokens: None,
            connect_timeout: 10.0,
            idle_timeout: 300.0,
            request_timeout: 3600.0,
            max_attempts: 12,
            give_up_after: 1800.0,
            grace: 30.0,
        }
    }
}

impl TraceSettings {
    /// The preset, if one is named.
    pub fn preset(&self) -> Option<Preset> {
        self.preset.as_deref().and_then(Preset::named)
    }

    /// The environment variable that may hold the key, and whether it must.
    pub fn key_variable(&self) -> Option<(&str, bool)> {
        let usual = || self.preset().and_then(Preset::key_variable).map(|name| (name, false));
        self.api_key_env.as_deref().map(|name| (name, true)).or_else(usual)
    }

    /// The teachers, without their key and headers: those named, or the preset's.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let seconds = Duration::from_secs_f64;
        let timeouts = Timeouts {
            connect: seconds(self.connect_timeout),
            idle: seconds(self.idle_timeout),
            request: seconds(self.request_timeout),
        };
        let preset = self.preset().map(Preset::endpoint);
        let named = self.teacher.iter().map(|url| Endpoint::new(url, self.dialect_of(url, preset.as_ref())));
        let usual = preset.iter().filter(|_| self.teacher.is_empty()).cloned();
        named.chain(usual).map(|endpoint| Endpoint { stream: self.stream, timeouts, ..endpoint }).collect()
    }

    fn dialect_of(&self, url: &str, preset: Option<&Endpoint>) -> Dialect {
        match self.dialect {
            Some(Speech::OpenAi) => Dialect::OpenAi,
            Some(Speech::Ollama) => Dialect::Ollama,
            None if url.trim_end_matches('/').ends_with("/api/chat") => Dialect::Ollama,
            None => preset.map_or(Dialect::OpenAi, |preset| preset.dialect),
        }
    }

    /// What the preset knows of the model's price.
    pub fn preset_prices(&self) -> Option<Prices> {
        self.preset()?.prices(self.model.as_deref()?)
    }

    /// What tokens cost, in the recipe or else by the preset; nothing where neither says.
    pub fn price(&self) -> Price {
        let known = self.preset_prices();
        let usual = |price: Option<f64>| price.unwrap_or(0.0);
        Price {
            prompt: self.prompt_price.unwrap_or_else(|| usual(known.map(|known| known.prompt_dollars))),
            completion: self.completion_price.unwrap_or_else(|| usual(known.map(|known| known.completion_dollars))),
        }
    }

    /// The prompts, read as `[data]` says.
    pub fn prompt_files(&self, options: ReadOptions) -> PromptFiles {
        let suffix = self.prompt_suffix.clone().filter(|suffix| !suffix.trim().is_empty());
        let suffix = suffix.map(|suffix| if suffix == "boxed" { BOXED.to_owned() } else { suffix });
        PromptFiles { paths: self.prompts.clone(), options, suffix }
    }

    /// What collecting takes.
    pub fn options(&self) -> collect::Options {
        let body = serde_json::to_value(&self.extra_body).ok().and_then(|body| body.as_object().cloned());
        collect::Options {
            asking: Asking {
                temperature: self.temperature,
                top_p: self.top_p,
                max_tokens: self.max_new_tokens,
                seed: self.seed,
                logprobs: self.logprobs,
                top_logprobs: self.top_logprobs,
                extra_body: body.unwrap_or_default(),
                ..Asking::new(self.model.clone().unwrap_or_default())
            },
            samples: self.samples,
            concurrency: self.concurrency,
            rates: Rates { requests_per_minute: self.requests_per_minute, tokens_per_minute: self.tokens_per_minute },
            price: self.price(),
            budget: Budget { cost: self.max_cost, tokens: self.max_total_tokens },
            max_attempts: self.max_attempts,
            give_up_after: Duration::from_secs_f64(self.give_up_after),
            grace: Duration::from_secs_f64(self.grace),
        }
    }

    /// What collecting cannot start without: prompts, a teacher, a model and a store.
    pub(super) fn missing(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut need = |is_there: bool, key: &str, reason: &str, mend: &str| {
            if !is_there {
                problems.push(Problem::missing(&format!("trace.{key}"), reason, mend));
            }
        };
        let teacher = "give an address such as http://127.0.0.1:8000/v1: --teacher URL..., or a preset: --preset NAME";
        need(
            !self.prompts.is_empty(),
            "prompts",
            "no prompts are named",
            "give one or more files: --prompts FILE..., or `prompts` in [trace]",
        );
        need(!self.teacher.is_empty() || self.preset.is_some(), "teacher", "no teacher is named", teacher);
        need(
            self.model.is_some(),
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
        if self.max_cost.is_some() && self.price() == Price::default() {
            problems.push(Problem::missing(
                "trace.completion_price",
                "trace.max_cost bounds the cost, and no price is known",
                "give dollars per million tokens: --prompt-price X --completion-price X",
            ));
        }
        problems
    }

    pub(super) fn check(&self, check: &mut Checker<'_>) {
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
            "a whole number from 1 to 10000",
        );
        check.that(
            (0.0..=100.0).contains(&self.temperature),
            "temperature",
            self.temperature,
            "logits cannot be divided by it",
            "a number from 0 to 100, for example 0.6",
        );
        check.that(
            self.top_p > 0.0 && self.top_p <= 1.0,
            "top_p",
            self.top_p,
            "it is a probability to be reached, and 0 would leave no token",
            "a number above 0, up to 1 (all tokens)",
        );
        check.that(
            self.top_logprobs.is_none_or(|count| count <= 100),
            "top_logprobs",
            self.top_logprobs,
            "no server gives so many alternatives",
            "a whole number up to 20, which is where most servers end",
        );
        if let Some(seed) = self.seed {
            check.seed(seed);
        }
    }

    fn check_pace(&self, check: &mut Checker<'_>) {
        for (key, count) in [
            ("concurrency", Some(self.concurrency as u64)),
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
            ("max_new_tokens", self.max_new_tokens.map(u64::from)),
            ("max_attempts", Some(u64::from(self.max_attempts))),
        ] {
            check.that(count != Some(0), key, 0, "nothing would ever be asked", "a whole number of 1 or more");
        }
        check.that(
            self.concurrency <= 10_000,
            "concurrency",
            self.concurrency,
            "no machine has so many connections",
            "a whole number up to 10000",
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
