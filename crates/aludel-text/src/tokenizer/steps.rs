//! The steps around the model (normalising a text, splitting it into words, decoding), as in the library, with one
//! difference: where its search for an expression gives up, the library continues as if nothing more had been found,
//! which gives other ids. Here that is an error. The engine gives up after a million steps, for example on a million
//! spaces in a row.

use std::cell::RefCell;

use fancy_regex::Regex;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::normalizers::{NormalizerWrapper, Replace};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::tokenizer::pattern::Invert;
use tokenizers::{
    Decoder, NormalizedString, Normalizer, PreTokenizedString, PreTokenizer, Result, SplitDelimiterBehavior,
};

use super::components::shown;
use super::pre::GPT2;

/// The steps of a tokenizer, those within others in order.
pub(super) struct Steps {
    pub(super) normalizers: Vec<Normalizing>,
    pub(super) pre_tokenizers: Vec<PreTokenizing>,
    /// None where tokens stand for themselves.
    pub(super) decoders: Option<Vec<Decoding>>,
}

pub(super) enum Normalizing {
    /// A step of the library that searches for no expression.
    Plain(NormalizerWrapper),
    Replace(Regex, String),
}

pub(super) enum PreTokenizing {
    /// A step of the library that searches for no expression.
    Plain(PreTokenizerWrapper),
    Split {
        regex: Regex,
        behavior: SplitDelimiterBehavior,
        is_inverted: bool,
    },
    /// What a byte-level step does before it spells bytes as letters.
    Words {
        regex: Regex,
        adds_blank: bool,
    },
}

pub(super) enum Decoding {
    /// A step of the library that searches for no expression.
    Plain(DecoderWrapper),
    Replace(Regex, String),
}

impl Steps {
    /// # Errors
    /// An expression that cannot be compiled.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer) -> std::result::Result<Steps, String> {
        let mut steps = Steps { normalizers: Vec::new(), pre_tokenizers: Vec::new(), decoders: None };
        if let Some(normalizer) = tokenizer.get_normalizer() {
            steps.add_normalizer(normalizer)?;
        }
        if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
            steps.add_cutter(pre_tokenizer)?;
        }
        if let Some(decoder) = tokenizer.get_decoder() {
            let mut decoders = Vec::new();
            add_decoder(decoder, &mut decoders)?;
            steps.decoders = Some(decoders);
        }
        Ok(steps)
    }

    fn add_normalizer(&mut self, step: &NormalizerWrapper) -> std::result::Result<(), String> {
        match step {
            NormalizerWrapper::Sequence(steps) => {
                steps.as_ref().iter().try_for_each(|step| self.add_normalizer(step))?;
            }
            NormalizerWrapper::Replace(replace) => self.normalizers.push(match searched(replace)? {
                Some(regex) => Normalizing::Replace(regex, replace.content.clone()),
                None => Normalizing::Plain(step.clone()),
            }),
            other => self.normalizers.push(Normalizing::Plain(other.clone())),
        }
        Ok(())
    }

    fn add_cutter(&mut self, step: &PreTokenizerWrapper) -> std::result::Result<(), String> {
        match step {
            PreTokenizerWrapper::Sequence(steps) => {
                steps.as_ref().iter().try_for_each(|step| self.add_cutter(step))?;
            }
            PreTokenizerWrapper::Split(split) => self.pre_tokenizers.push(match &split.pattern {
                SplitPattern::Regex(expression) => PreTokenizing::Split {
                    regex: compile(expression)?,
                    behavior: split.behavior,
                    is_inverted: split.invert,
                },
                SplitPattern::String(_) => PreTokenizing::Plain(step.clone()),
            }),
            PreTokenizerWrapper::ByteLevel(bytes) if bytes.use_regex => {
                self.pre_tokenizers
                    .push(PreTokenizing::Words { regex: compile(GPT2)?, adds_blank: bytes.add_prefix_space });
                let spelling = bytes.use_regex(false).add_prefix_space(false);
                self.pre_tokenizers.push(PreTokenizing::Plain(PreTokenizerWrapper::ByteLevel(spelling)));
            }
            other => self.pre_tokenizers.push(PreTokenizing::Plain(other.clone())),
        }
        Ok(())
    }

    /// The text with its added tokens split off, and what is between them normalised.
    pub(super) fn split_added(
        &self,
        inner: &tokenizers::Tokenizer,
        text: &str,
    ) -> std::result::Result<PreTokenizedString, String> {
        /// The library passes over an error of a normaliser.
        struct ReportingNormalizer<'a>(&'a Steps);
        thread_local! {
            static ERROR: RefCell<Option<String>> = const { RefCell::new(None) };
        }
        impl Normalizer for ReportingNormalizer<'_> {
            fn normalize(&self, text: &mut NormalizedString) -> Result<()> {
                self.0.normalize(text).inspect_err(|error| ERROR.set(Some(error.to_string())))
            }
        }
        ERROR.take();
        let normalizer = (!self.normalizers.is_empty()).then_some(ReportingNormalizer(self));
        let pieces = inner.get_added_vocabulary().extract_and_normalize(normalizer.as_ref(), text);
        ERROR.take().map_or(Ok(pieces), Err)
    }

    pub(super) fn normalize(&self, text: &mut NormalizedString) -> Result<()> {
        self.normalizers.iter().try_for_each(|step| match step {
            Normalizing::Plain(step) => step.normalize(text),
            Normalizing::Replace(regex, content) => {
                text.replace(regex, content).map_err(|error| gave_up(regex, &error))
            }
        })
    }

    /// The text that tokens stand for.
    pub(super) fn decode(&self, tokens: Vec<String>) -> Result<String> {
        let Some(decoders) = &self.decoders else { return Ok(tokens.join(" ")) };
        let pieces = decoders.iter().try_fold(tokens, |tokens, step| match step {
            Decoding::Plain(step) => step.decode_chain(tokens),
            Decoding::Replace(regex, content) => tokens.iter().map(|token| replaced(regex, content, token)).collect(),
        });
        Ok(pieces?.concat())
    }

    /// Cuts what is no token yet into words.
    pub(super) fn pre_tokenize(&self, pieces: &mut PreTokenizedString) -> Result<()> {
        self.pre_tokenizers.iter().try_for_each(|step| match step {
            PreTokenizing::Plain(step) => step.pre_tokenize(pieces),
            PreTokenizing::Split { regex, behavior, is_inverted: false } => {
                let cut = pieces.split(|_, piece| piece.split(regex, *behavior));
                cut.map_err(|error| gave_up(regex, &error))
            }
            PreTokenizing::Split { regex, behavior, is_inverted: true } => {
                let cut = pieces.split(|_, piece| piece.split(Invert(regex), *behavior));
                cut.map_err(|error| gave_up(regex, &error))
            }
            PreTokenizing::Words { regex, adds_blank } => {
                let cut = pieces.split(|_, mut piece| {
                    if *adds_blank && !piece.get().starts_with(' ') {
                        piece.prepend(" ");
                    }
                    piece.split(regex, SplitDelimiterBehavior::Isolated)
                });
                cut.map_err(|error| gave_up(regex, &error))
            }
        })
    }
}

fn add_decoder(step: &DecoderWrapper, decoders: &mut Vec<Decoding>) -> std::result::Result<(), String> {
    match step {
        DecoderWrapper::Sequence(steps) => {
            steps.get_decoders().iter().try_for_each(|step| add_decoder(step, decoders))?;
        }
        DecoderWrapper::Replace(replace) => decoders.push(match searched(replace)? {
            Some(regex) => Decoding::Replace(regex, replace.content.clone()),
            None => Decoding::Plain(step.clone()),
        }),
        other => decoders.push(Decoding::Plain(other.clone())),
    }
    Ok(())
}

/// The expression of a step that replaces, if it searches for one: the library shows it only where it is written.
fn searched(replace: &Replace) -> std::result::Result<Option<Regex>, String> {
    let written = serde_json::to_value(replace).map_err(|error| error.to_string())?;
    written.pointer("/pattern/Regex").and_then(serde_json::Value::as_str).map(compile).transpose()
}

fn replaced(regex: &Regex, content: &str, token: &str) -> Result<String> {
    let mut text = String::new();
    let mut from = 0;
    // In a token of nothing the library finds nothing.
    for found in regex.find_iter(token).take_while(|_| !token.is_empty()) {
        let found = found.map_err(|error| gave_up(regex, &error.into()))?;
        text.push_str(&token[from..found.start()]);
        text.push_str(content);
        from = found.end();
    }
    text.push_str(&token[from..]);
    Ok(text)
}

fn compile(expression: &str) -> std::result::Result<Regex, String> {
    Regex::new(expression).map_err(|error| format!("its expression {} cannot be compiled: {error}", shown(expression)))
}

fn gave_up(regex: &Regex, error: &tokenizers::Error) -> tokenizers::Error {
    let expression = shown(regex.as_str());
    format!(
        "the search for its expression {expression} gives up ({error}), as on a million blanks in a row; shorten the text or take out what \
         repeats in it"
    )
    .into()
}
