//! From `[trace]` to what `collect` takes: endpoints, prices, prompts and options. What the recipe leaves out comes from the preset.

use super::{Speech, TraceSettings};
use crate::client::{Dialect, Endpoint, Preset, Prices, RequestParams, Timeouts};
use crate::collect::{self, BOXED, Budget, Price, PromptFiles, Rates};
use aludel_data::dataset::ReadOptions;
use std::path::Path;
use std::time::Duration;

/// Maximum tokens of an answer of a model on this machine, where none is given: nobody else ends it.
const LOCAL_MAX_NEW_TOKENS: u32 = 5000;

impl TraceSettings {
    /// The teacher that runs on this machine, if one is named: whatever is no address.
    pub fn local_teacher(&self) -> Option<&Path> {
        self.teacher.iter().find(|named| !named.contains("://")).map(Path::new)
    }

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

    /// What tokens cost, in the recipe or else by the preset; `None` where neither says.
    pub fn price(&self) -> Option<Price> {
        let known = self.preset_prices();
        let own = self.local_teacher().map(|_| 0.0);
        Some(Price {
            prompt: self.prompt_price.or(known.map(|known| known.prompt_dollars)).or(own)?,
            completion: self.completion_price.or(known.map(|known| known.completion_dollars)).or(own)?,
        })
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
            asking: RequestParams {
                temperature: self.temperature,
                top_p: self.top_p,
                max_tokens: self.max_new_tokens.or(self.local_teacher().map(|_| LOCAL_MAX_NEW_TOKENS)),
                seed: self.seed,
                logprobs: self.logprobs,
                top_logprobs: self.top_logprobs,
                extra_body: body.unwrap_or_default(),
                ..RequestParams::new(self.model.clone().unwrap_or_default())
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
}
