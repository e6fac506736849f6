//! The output of `aludel inspect`: each row as a column of parts with their token counts, then the totals. Marks in the
//! margin show what is trained on, so that nothing depends on colour alone.

use super::Training;
use super::rows::Totals;
use crate::console::{Console, harmless};
use crate::humanize::grouped;
use aludel_data::dataset::{BadRows, Provenance};
use aludel_distill::prepare::{Prepared, RowStatus};
use aludel_distill::settings::Recipe;
use aludel_files::noun;
use aludel_text::{Encoded, Part, Tokenizer};
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use std::io;

/// How much of a row is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Detail {
    /// The borders between tokens.
    pub(super) tokens: bool,
    /// Long texts whole.
    pub(super) full: bool,
}

/// A run of tokens of one kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Segment {
    part: Part,
    supervised: bool,
    cut: bool,
    tokens: usize,
    text: String,
    /// The text of each token.
    #[serde(skip)]
    pieces: Vec<String>,
}

/// A row in JSON.
#[derive(Debug, Serialize)]
pub(super) struct JsonRow {
    row: u64,
    file: String,
    line: u64,
    fate: &'static str,
    reason: Option<String>,
    tokens: usize,
    tokens_left: usize,
    supervised_tokens: usize,
    segments: Vec<Segment>,
    ids: Vec<u32>,
    weights: Vec<f32>,
}

/// Explains marks and colours.
pub(super) fn legend(console: &mut Console) -> io::Result<()> {
    let parts = [Part::Markup, Part::System, Part::User, Part::Reasoning, Part::Answer, Part::EndOfTurn];
    let names: Vec<String> = parts.iter().map(|&part| console.styled(style(part, false), label(part))).collect();
    console.line(format_args!("parts: {}", names.join(", ")))?;
    let cut = console.styled(style(Part::Markup, true), "-");
    console.line(format_args!("marks: {} trained on, {cut} cut off, {BREAK} line break at the end of a part", "+"))
}

/// Shows one row.
pub(super) fn row(
    console: &mut Console,
    number: u64,
    row: &Prepared,
    place: &Provenance,
    tokenizer: &Tokenizer,
    detail: Detail,
) -> io::Result<()> {
    let head = format!("row {number}: {} line {}", harmless(&place.file.display().to_string()), place.line);
    console.line("")?;
    let head = console.styled(Style::new().bold(), &head);
    console.line(format_args!("{head}, {}", fate_in_words(row)))?;
    for segment in row.encoded.iter().flat_map(|encoded| segments(encoded, row.tokens_left(), tokenizer)) {
        show_segment(console, &segment, detail)?;
    }
    Ok(())
}

/// One row as JSON holds it.
pub(super) fn json_row(number: u64, row: &Prepared, place: &Provenance, tokenizer: &Tokenizer) -> JsonRow {
    let encoded = row.encoded.as_ref();
    JsonRow {
        row: number,
        file: place.file.display().to_string(),
        line: place.line,
        fate: row.fate.name(),
        reason: match &row.fate {
            RowStatus::Refused(reason) => Some(reason.clone()),
            _ => None,
        },
        tokens: row.tokens(),
        tokens_left: row.tokens_left(),
        supervised_tokens: row.supervised_left(),
        segments: encoded.map(|encoded| segments(encoded, row.tokens_left(), tokenizer)).unwrap_or_default(),
        ids: encoded.map(|encoded| encoded.ids.clone()).unwrap_or_default(),
        weights: encoded.map(|encoded| encoded.weights.clone()).unwrap_or_default(),
    }
}

/// Shows the sums.
pub(super) fn totals(console: &mut Console, totals: &Totals, recipe: &Recipe) -> io::Result<()> {
    let head = format!(
        "{} {} from {} {}",
        grouped(totals.rows),
        noun(totals.rows, "row", "rows"),
        grouped(totals.records),
        noun(totals.records, "record", "records")
    );
    console.line("")?;
    let head = console.styled(Style::new().bold(), &head);
    console.line(head)?;
    let max_length = recipe.train.max_length.limit();
    let cut = if recipe.data.allow_cut_reasoning { "cut".to_owned() } else { format!("cut to {max_length} tokens") };
    let lines = [
        (totals.kept, "kept whole".to_owned()),
        (totals.cut, format!("{cut}, {} tokens lost", grouped(totals.tokens_lost))),
        (totals.too_long, format!("dropped: longer than train.max_length = {max_length}")),
        (totals.unsupervised, "dropped: nothing left to train on".to_owned()),
        (totals.refused, "refused".to_owned()),
    ];
    for (rows, what) in lines.iter().filter(|(rows, _)| *rows > 0) {
        console.hanging(COUNTED_COLUMN, format_args!("{:>12}  {what}", grouped(*rows)))?;
    }
    read(console, totals, &[])?;
    refusals(console, totals, recipe)?;
    let lengths = &totals.lengths;
    console.line(format_args!(
        "tokens in a row: {} to {}, median {}",
        grouped(lengths.shortest),
        grouped(lengths.longest),
        grouped(lengths.median)
    ))?;
    let (all, trained) = (totals.tokens, totals.supervised_tokens);
    console.line(format_args!(
        "tokens in training: {}, of which {} are trained on ({}%)",
        grouped(all),
        grouped(trained),
        percent(trained, all)
    ))
}

/// Shows what the reading of rows found; of columns only what was not `told` before.
fn read(console: &mut Console, totals: &Totals, told: &[String]) -> io::Result<()> {
    if totals.without_reasoning > 0 {
        let what = "records say that their model reasoned, and hold none of it";
        console.hanging(COUNTED_COLUMN, format_args!("{:>12}  {what}", grouped(totals.without_reasoning)))?;
    }
    for bad in BadRows::by_rows(&totals.bad_rows) {
        let first = format!("the first is {} line {}: {}", bad.first_file, bad.first_line, bad.first_reason);
        let line = format!("{:>12}  skipped: {}; {first}", grouped(bad.rows), bad.kind);
        console.hanging(COUNTED_COLUMN, harmless(&line))?;
    }
    let of_columns = totals.told_of_columns.iter().filter(|line| !told.contains(line));
    for line in totals.told.iter().chain(of_columns) {
        console.paragraph(Style::new(), line)?;
    }
    Ok(())
}

/// Shows the sums of rows to evaluate on, beside those to train on.
pub(super) fn evaluation(
    console: &mut Console,
    totals: &Totals,
    to_train_on: &Totals,
    recipe: &Recipe,
) -> io::Result<()> {
    let (kept, rows) = (grouped(totals.kept + totals.cut), grouped(totals.rows));
    let tokens = grouped(totals.tokens);
    console.line(format_args!("to evaluate on: {kept} of {rows} rows, {tokens} tokens"))?;
    read(console, totals, &to_train_on.told_of_columns)?;
    refusals(console, totals, recipe)
}

/// Why rows are refused, the most frequent reason first, and what to do about those that are left.
fn refusals(console: &mut Console, totals: &Totals, recipe: &Recipe) -> io::Result<()> {
    const REASONS: usize = 5;
    let Some(first) = &totals.first_refused else { return Ok(()) };
    let reasons = BadRows::by_rows(&totals.refusals);
    if let [_] = reasons.as_slice() {
        let what = if recipe.data.skip_bad_rows { "the first refused is" } else { "training would stop at" };
        let told = format!("{what} {} line {}: {}", first.file, first.line, first.reason);
        console.paragraph(Style::new(), told)?;
    } else {
        for bad in reasons.iter().take(REASONS) {
            let place = format!("{} line {}", bad.first_file, bad.first_line);
            let line = format!("{:>12}  refused, such as {place}: {}", grouped(bad.rows), bad.first_reason);
            console.hanging(COUNTED_COLUMN, harmless(&line))?;
        }
        let further: u64 = reasons.iter().skip(REASONS).map(|bad| bad.rows).sum();
        if further > 0 {
            let line = format!("{:>12}  refused for {} further reasons", grouped(further), reasons.len() - REASONS);
            console.hanging(COUNTED_COLUMN, line)?;
        }
        if !recipe.data.skip_bad_rows {
            let told = format!("training would stop at {} line {}", first.file, first.line);
            console.paragraph(Style::new(), told)?;
        }
    }
    if !recipe.data.skip_bad_rows {
        let told = "help: change these rows, or leave them out with --skip-bad-rows";
        console.paragraph(Style::new(), told)?;
    }
    Ok(())
}

/// Shows what training would take, or why it would not begin.
pub(super) fn training(
    console: &mut Console,
    training: &aludel_distill::Result<Training>,
    recipe: &Recipe,
) -> io::Result<()> {
    let training = match training {
        Ok(training) => training,
        Err(error) => return console.line(harmless(&format!("training would stop: {error}"))),
    };
    for left_out in &training.left_out {
        match left_out.check(recipe) {
            Ok(()) => console.line(left_out.describe())?,
            Err(error) => console.line(format_args!("training would stop: {error}"))?,
        }
    }
    match training.memory_bytes {
        Some(bytes) => {
            let megabytes = grouped((bytes as f64 / 1e6).round() as u64);
            console.line(format_args!(
                "memory in training: about {megabytes} MB in all, rows of {} tokens at most",
                grouped(training.max_length as u64)
            ))
        }
        None => Ok(()),
    }
}

const BREAK: &str = "⏎";
const BORDER: &str = "│";
/// Where the text of a part begins.
const TEXT_COLUMN: usize = 20;
/// Where it begins what the rows are that were counted.
const COUNTED_COLUMN: usize = 14;

/// Runs of tokens that agree in part, supervision and cut.
fn segments(encoded: &Encoded, tokens_left: usize, tokenizer: &Tokenizer) -> Vec<Segment> {
    let kind = |token: usize| (encoded.parts[token], encoded.weights[token] > 0.0, token >= tokens_left);
    let mut segments = Vec::new();
    let mut start = 0;
    for end in 1..=encoded.len() {
        if end < encoded.len() && kind(end) == kind(start) {
            continue;
        }
        let (part, supervised, cut) = kind(start);
        let pieces: Vec<String> = (start..end).map(|token| token_text(encoded, token, tokenizer)).collect();
        segments.push(Segment { part, supervised, cut, tokens: end - start, text: pieces.concat(), pieces });
        start = end;
    }
    segments
}

/// The text that a token stands for. Tokens of one character share its span: the first of them shows it. A token that
/// was put around the text, and so has no span in it, shows its own name.
fn token_text(encoded: &Encoded, token: usize, tokenizer: &Tokenizer) -> String {
    let span = encoded.spans[token].clone();
    if span.is_empty() {
        return tokenizer.id_to_token(encoded.ids[token]).unwrap_or_default();
    }
    let is_shown_before = token > 0 && encoded.spans[token - 1] == span;
    if is_shown_before { String::new() } else { encoded.text.get(span).unwrap_or_default().to_owned() }
}

fn show_segment(console: &mut Console, segment: &Segment, detail: Detail) -> io::Result<()> {
    let mark = match (segment.cut, segment.supervised) {
        (true, _) => "-",
        (false, true) => "+",
        (false, false) => " ",
    };
    let text = if detail.tokens { segment.pieces.join(BORDER) } else { segment.text.clone() };
    let text = if detail.full { text } else { folded(&text) };
    let text = console.styled(style(segment.part, segment.cut), &on_lines(&harmless(&text)));
    let text = indented(&text);
    console.hanging(TEXT_COLUMN, format_args!("{mark} {:<10}{:>6}  {text}", label(segment.part), segment.tokens))
}

/// The text with all lines but the first brought below it; empty lines stay empty.
fn indented(text: &str) -> String {
    let mut lines = text.split('\n');
    let mut shown = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        shown.push('\n');
        if !line.is_empty() {
            shown.push_str(&" ".repeat(TEXT_COLUMN));
            shown.push_str(line);
        }
    }
    shown
}

/// The text with its last line breaks visible, so that they do not look like empty lines.
fn on_lines(text: &str) -> String {
    let body = text.trim_end_matches('\n');
    format!("{body}{}", BREAK.repeat(text.len() - body.len()))
}

/// A long text without its middle.
fn folded(text: &str) -> String {
    const WHOLE_CHARS: usize = 1200;
    const HEAD_CHARS: usize = 700;
    const TAIL_CHARS: usize = 300;
    let chars = text.chars().count();
    if chars <= WHOLE_CHARS {
        return text.to_owned();
    }
    let head: String = text.chars().take(HEAD_CHARS).collect();
    let tail: String = text.chars().skip(chars - TAIL_CHARS).collect();
    let hidden = grouped((chars - HEAD_CHARS - TAIL_CHARS) as u64);
    format!("{head}\n[… {hidden} characters more, shown with --full …]\n{tail}")
}

fn fate_in_words(row: &Prepared) -> String {
    let (tokens, trained) = (row.tokens() as u64, row.supervised_left() as u64);
    let shares = format!("{} tokens, {} trained on{}", grouped(tokens), grouped(trained), weights_in_words(row));
    match &row.fate {
        RowStatus::Kept => format!("{shares} ({}%)", percent(trained, tokens)),
        RowStatus::Cut { lost } => format!("{shares}, the last {} cut off", grouped(*lost as u64)),
        RowStatus::TooLong => format!("{} tokens, dropped: longer than train.max_length", grouped(tokens)),
        RowStatus::Unsupervised => format!("{} tokens, dropped: nothing left to train on", grouped(tokens)),
        RowStatus::Refused(reason) => format!("refused: {}", harmless(reason)),
    }
}

/// What the tokens that are trained on count, where it is anything but 1.
fn weights_in_words(row: &Prepared) -> String {
    let weights = row.encoded.iter().flat_map(|encoded| &encoded.weights).copied().filter(|weight| *weight > 0.0);
    let (least, most) = weights.fold((f32::MAX, 0.0f32), |(least, most), weight| (least.min(weight), most.max(weight)));
    match (least, most) {
        (least, most) if most == 0.0 || (least, most) == (1.0, 1.0) => String::new(),
        (least, most) if least == most => format!(" with weight {least}"),
        (least, most) => format!(" with weights from {least} to {most}"),
    }
}

fn label(part: Part) -> &'static str {
    match part {
        Part::Markup => "template",
        Part::System => "system",
        Part::User => "user",
        Part::Tool => "tool",
        Part::Assistant => "assistant",
        Part::Reasoning => "reasoning",
        Part::Answer => "answer",
        Part::EndOfTurn => "end",
    }
}

fn style(part: Part, is_cut: bool) -> Style {
    if is_cut {
        return AnsiColor::Red.on_default().strikethrough();
    }
    match part {
        Part::Markup => Style::new().dimmed(),
        Part::System | Part::User | Part::Tool | Part::Assistant => AnsiColor::Blue.on_default(),
        Part::Reasoning => AnsiColor::Yellow.on_default(),
        Part::Answer => AnsiColor::Green.on_default(),
        Part::EndOfTurn => AnsiColor::Magenta.on_default().bold(),
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { (part as f64 / whole as f64 * 100.0).round() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_percents() {
        assert_eq!((percent(1, 3), percent(0, 0), percent(5, 5)), (33, 0, 100));
    }

    #[test]
    fn a_long_text_loses_its_middle_and_says_how_much() {
        let text = "ä".repeat(1300);
        let shown = folded(&text);
        assert!(shown.contains("[… 300 characters more, shown with --full …]"), "{shown}");
        assert_eq!(shown.matches('ä').count(), 1000);
        assert_eq!(folded("short"), "short");
    }

    #[test]
    fn last_line_breaks_are_seen() {
        for (text, shown) in [("a\nb\n\n", "a\nb⏎⏎"), ("\n", "⏎"), ("", "")] {
            assert_eq!(on_lines(text), shown);
        }
    }
}
