//! The parity gate: a written GGUF file is opened as any other model, and held against the model that it was made from: ids of texts, the
//! rendered template, the tokens that end an answer, and the distribution of the next token. One model is in memory at a time.

mod texts;

use std::path::{Path, PathBuf};

use aludel_kernels::{Context, Region};
use aludel_model::adapter::Adapter;
use aludel_model::decoder::{Active, Attention, Decoder, PackedBatch};
use aludel_model::student::Student;
use aludel_text::{EncodeOptions, Message, TextBundle, encode};

use super::metadata::{EndTokens, dated, end_of_turn};
use super::options::{ExportOptions, Progress};
use crate::error::{Error, Result};
use crate::learner::weight_format;
use crate::settings::{Dtype, Quantize};

/// What the gate found, of a file that passed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Parity {
    /// Texts whose ids are the same.
    pub texts: usize,
    /// Conversations that are rendered to the same ids.
    pub conversations: usize,
    /// Tokens whose distributions were compared.
    pub tokens: usize,
    /// Mean KL per token from the source to the file, in nats.
    pub kl: f64,
    /// What it may be at most, for a file of this type.
    pub kl_bound: f64,
}

/// What a file is held against.
pub(super) struct Compared<'a> {
    pub(super) student: &'a Student,
    pub(super) adapter: Option<&'a Path>,
    pub(super) text: &'a TextBundle,
    pub(super) ends: &'a EndTokens,
}

/// Rows of the comparison, and their length.
const ROWS: usize = 64;
const ROW_TOKENS: usize = 32;
/// How many of the source's most probable tokens are compared one by one; the others count as one.
const COMPARED_TOKENS: usize = 256;

/// Compares, and names the first difference.
///
/// # Errors
/// [`Error::Parity`], and whatever keeps the file from being opened.
pub(super) fn check(
    compared: &Compared<'_>,
    written: &Path,
    options: &ExportOptions,
    tell: &mut dyn FnMut(Progress),
) -> Result<Parity> {
    let differs = |what: String| Error::Parity { path: PathBuf::from(written.file_name().unwrap_or_default()), what };
    let file = Student::open(written).map_err(|error| differs(format!("it cannot be opened: {error}")))?;
    let texts = texts::texts();
    let mut rows = Vec::new();
    for text in &texts {
        // Text that the vocabulary cannot spell has no ids on either side.
        let Ok(wanted) = compared.text.tokenizer.encode(text) else { continue };
        let found = file.text.tokenizer.encode(text).unwrap_or_default();
        if found != wanted {
            return Err(differs(format!(
                "the text {text:?} has the ids {} in place of {}",
                shown(&found),
                shown(&wanted)
            )));
        }
        rows.push(wanted);
    }
    let mut parity = Parity { texts: rows.len(), kl_bound: options.file_type.kl_bound(), ..Parity::default() };
    let prompts = conversations(compared, &file, &differs)?;
    parity.conversations = prompts.len();
    check_ends(compared, &file, &differs)?;
    let bos = compared.text.bos_id();
    let positions = compared.student.config.max_position_embeddings;
    let rows: Vec<Vec<u32>> = prompts
        .into_iter()
        .chain(rows.into_iter().map(|ids| bos.into_iter().chain(ids).collect()))
        .filter(|ids: &Vec<u32>| ids.len() >= 2)
        .map(|ids| ids.into_iter().take(ROW_TOKENS.min(positions)).collect())
        .take(ROWS)
        .collect();
    let (kl, tokens) = divergence(compared, &file, &rows, options, tell)?;
    (parity.kl, parity.tokens) = (kl, tokens);
    // a NaN must not pass
    let is_near = parity.kl <= parity.kl_bound;
    if !is_near {
        return Err(differs(format!(
            "the next token's distribution is another one: KL {:.2e} nats per token over {tokens} tokens, where {} may have {:.1e}; if the \
             model is merely sensitive to rounding, export a more exact --type, or give --no-gate",
            parity.kl,
            options.file_type.name(),
            parity.kl_bound
        )));
    }
    Ok(parity)
}

/// The ids of conversations as prompts, which are those of the file.
fn conversations(compared: &Compared<'_>, file: &Student, differs: &dyn Fn(String) -> Error) -> Result<Vec<Vec<u32>>> {
    if compared.text.chat_template.is_none() {
        return Ok(Vec::new());
    }
    let source = compared.text.template(&compared.student.path.display().to_string())?;
    let written = file.chat_template().map_err(|error| differs(format!("it has no template: {error}")))?;
    let options = EncodeOptions { purpose: aludel_text::Purpose::Prompt { open_thinking: false }, ..dated() };
    let mut all = Vec::new();
    for messages in texts::conversations() {
        let messages: Vec<Message> = messages;
        // A template may refuse a conversation, as those without a system role do.
        let wanted = encode(&source, &compared.text.tokenizer, &messages, &options);
        let found = encode(written, &file.text.tokenizer, &messages, &options);
        match (wanted, found) {
            (Ok(wanted), Ok(found)) => {
                for (wanted, found) in wanted.into_iter().zip(found) {
                    if (&wanted.text, &wanted.ids) != (&found.text, &found.ids) {
                        return Err(differs(format!(
                            "a conversation is rendered as {:?} in place of {:?}",
                            found.text, wanted.text
                        )));
                    }
                    all.push(wanted.ids);
                }
            }
            (Err(_), Err(_)) => {}
            (Err(error), Ok(_)) => {
                return Err(differs(format!("a conversation is rendered that the source refuses: {error}")));
            }
            (Ok(_), Err(error)) => {
                return Err(differs(format!("a conversation is refused that the source renders: {error}")));
            }
        }
    }
    Ok(all)
}

/// That what ends an answer of the source ends one of the file, by the file's own keys.
fn check_ends(compared: &Compared<'_>, file: &Student, differs: &dyn Fn(String) -> Error) -> Result<()> {
    let named = |id: u32| compared.text.tokenizer.id_to_token(id).unwrap_or_default();
    if let Some(id) = compared.ends.ids().find(|id| !file.eos_token_ids.contains(id)) {
        return Err(differs(format!("the token {:?} does not end an answer", named(id))));
    }
    let (wanted, found) = (
        end_of_turn(compared.text, &compared.student.path.display().to_string()),
        end_of_turn(&file.text, &file.path.display().to_string()),
    );
    if wanted != found || wanted.is_some_and(|id| !compared.ends.ids().any(|end| end == id)) {
        let name = |id: Option<u32>| id.map_or_else(|| "nothing".to_owned(), |id| format!("{:?}", named(id)));
        return Err(differs(format!("a turn ends with {} in place of {}", name(found), name(wanted))));
    }
    Ok(())
}

/// The source's most probable tokens at a place, each with its probability.
type Likely = Vec<(u32, f32)>;

/// Mean KL per token, and how many tokens there were. Tokens that are not compared one by one count together, which can only lower it.
fn divergence(
    compared: &Compared<'_>,
    file: &Student,
    rows: &[Vec<u32>],
    options: &ExportOptions,
    tell: &mut dyn FnMut(Progress),
) -> Result<(f64, usize)> {
    let tokens: usize = rows.iter().map(Vec::len).sum();
    let (mut done, total) = (0, 2 * tokens as u64);
    tell(Progress::Comparing(done, total));
    let mut likely: Vec<Likely> = Vec::with_capacity(tokens);
    each_distribution(compared.student, compared.adapter, rows, options, &mut |probabilities| {
        likely.push(most_likely(probabilities));
        done += 1;
        tell(Progress::Comparing(done, total));
    })?;
    let (mut sum, mut place) = (0f64, 0);
    each_distribution(file, None, rows, options, &mut |probabilities| {
        sum += kl(&likely[place], probabilities);
        place += 1;
        done += 1;
        tell(Progress::Comparing(done, total));
    })?;
    Ok((sum / tokens.max(1) as f64, tokens))
}

fn most_likely(probabilities: &[f32]) -> Likely {
    let mut ids: Vec<u32> = (0..probabilities.len() as u32).collect();
    let by_probability =
        |a: &u32, b: &u32| probabilities[*b as usize].total_cmp(&probabilities[*a as usize]).then(a.cmp(b));
    if ids.len() > COMPARED_TOKENS {
        ids.select_nth_unstable_by(COMPARED_TOKENS - 1, by_probability);
        ids.truncate(COMPARED_TOKENS);
    }
    ids.into_iter().map(|id| (id, probabilities[id as usize])).collect()
}

fn kl(likely: &Likely, probabilities: &[f32]) -> f64 {
    let term = |p: f64, q: f64| if p > 0.0 { p * (p / q.max(f64::MIN_POSITIVE)).ln() } else { 0.0 };
    let (mut sum, mut p_left, mut q_left) = (0f64, 1f64, 1f64);
    for &(id, p) in likely {
        let (p, q) = (f64::from(p), f64::from(probabilities.get(id as usize).copied().unwrap_or(f32::NAN)));
        sum += term(p, q);
        p_left -= p;
        q_left -= q;
    }
    // What is left of sums of so many roundings may be of no size.
    if p_left > 1e-6 { sum + term(p_left, q_left.max(1e-9)) } else { sum }
}

/// Calls `see` with the probabilities of the next token at each place of each row.
fn each_distribution(
    student: &Student,
    adapter: Option<&Path>,
    rows: &[Vec<u32>],
    options: &ExportOptions,
    see: &mut dyn FnMut(&[f32]),
) -> Result<()> {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    if longest == 0 {
        return Ok(());
    }
    let mut ctx = Context::cpu(options.threads.max(1));
    let format = weight_format(Dtype::F32, Quantize::None);
    let decoder = Decoder::load(&mut ctx, &student.config, &student.weights, format, longest)?;
    let adapter = match adapter {
        Some(folder) => Some(Adapter::load(&mut ctx, &decoder, folder)?),
        None => None,
    };
    let vocab_size = decoder.vocab_size(adapter.as_ref());
    let mut pass = PackedBatch::default();
    let compute = |ctx: &mut Context, pass: &PackedBatch| {
        let active = adapter.as_ref().map(|adapter| Active { adapter, dropout: None });
        let forward = decoder.forward(ctx, pass, Attention::Rows, active, None);
        let logits = ctx.alloc(Region::Io, pass.len(), vocab_size);
        decoder.logits(ctx, forward.hidden, adapter.as_ref(), logits);
        ctx.download(logits)
    };
    // the arenas are those of the longest row
    let longest_row = rows.iter().find(|row| row.len() == longest).map_or(&[][..], Vec::as_slice);
    pass.push(0, longest_row);
    ctx.plan(|ctx| compute(ctx, &pass));
    for row in rows {
        decoder.check(row, row.len(), adapter.as_ref())?;
        pass.clear();
        pass.push(0, row);
        ctx.reset();
        let mut logits = compute(&mut ctx, &pass);
        for logits in logits.chunks_exact_mut(vocab_size) {
            softmax(logits);
            see(logits);
        }
    }
    Ok(())
}

fn softmax(logits: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    logits.iter_mut().for_each(|logit| *logit = (f64::from(*logit - largest).exp() / sum) as f32);
}

/// The first ids of a text, for messages.
fn shown(ids: &[u32]) -> String {
    const MOST: usize = 12;
    let first = ids.iter().take(MOST).map(u32::to_string).collect::<Vec<_>>().join(" ");
    if ids.len() > MOST { format!("{first} …") } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_distributions_have_no_divergence_and_others_do() {
        let mut p: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin() * 4.0).collect();
        let mut q: Vec<f32> = p.iter().map(|x| x * 1.2).collect();
        let exact = |p: &[f32], q: &[f32]| -> f64 {
            p.iter().zip(q).map(|(p, q)| f64::from(*p) * (f64::from(*p) / f64::from(*q)).ln()).sum()
        };
        softmax(&mut p);
        softmax(&mut q);
        let likely = most_likely(&p);
        assert_eq!(likely.len(), COMPARED_TOKENS);
        assert!(kl(&likely, &p).abs() <= 1e-6);
        let (found, whole) = (kl(&likely, &q), exact(&p, &q));
        assert!(found <= whole + 1e-6 && found >= 0.5 * whole, "{found} of {whole}");
        assert!(kl(&likely, &vec![f32::NAN; 1000]) > 100.0, "a NaN must not pass");
    }
}
