//! The error type of this crate. Each message names the file, key or value at fault, the reason, and what would be
//! correct, so that a caller can show it to a user unchanged.

use std::path::PathBuf;

/// What can go wrong between messages and ids.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// A tokenizer file is not one.
    #[error(
        "{origin}: not a usable tokenizer: {reason}; expected the tokenizer.json that the `tokenizers` library writes"
    )]
    TokenizerFile {
        /// The file, or what it was made from.
        origin: String,
        /// Why it was refused.
        reason: String,
    },

    /// A JSON side file of a model folder is broken.
    #[error("{}: {reason}; expected the JSON object that transformers' save_pretrained writes", path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// Why it was refused.
        reason: String,
    },

    /// A file beside a tokenizer.json contradicts it about the tokens.
    #[error(
        "{}: {reason}, so that other tools would give other ids; correct one of the two, or save both again with transformers' save_pretrained", path.display()
    )]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// What the file says, and what the tokenizer does.
        reason: String,
    },

    /// A GGUF names a pre-tokeniser that is not known here.
    #[error(
        "tokenizer.ggml.pre is \"{pre}\", which is not known here, and guessing would give wrong ids; known: {known}; load the model's Hugging Face folder (tokenizer.json) instead"
    )]
    UnknownPreTokenizer {
        /// The name in the file.
        pre: String,
        /// The names that are known.
        known: String,
    },

    /// A GGUF names a kind of tokenizer that is not known here.
    #[error(
        "tokenizer.ggml.model is \"{model}\"; known here: \"gpt2\" (byte-level BPE) and \"llama\" (SentencePiece BPE); load the model's Hugging Face folder (tokenizer.json) instead"
    )]
    UnknownTokenizerModel {
        /// The name in the file.
        model: String,
    },

    /// The vocabulary in a GGUF contradicts itself.
    #[error("{key}: {reason}; the file was written by a faulty converter or is damaged: convert or download it again")]
    Vocabulary {
        /// The metadata key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    /// A tokenizer that a GGUF file cannot hold.
    #[error(
        "{origin}: a GGUF file cannot hold this tokenizer: {reason}; keep the model's Hugging Face folder, which vLLM and transformers load"
    )]
    NotForGguf {
        /// The model.
        origin: String,
        /// What there is no counterpart of.
        reason: String,
    },

    /// The tokenizer refused a text or an id.
    #[error("the tokenizer failed on {what}: {reason}")]
    Tokenize {
        /// What it was given.
        what: String,
        /// Its own words.
        reason: String,
    },

    /// Something of a text is not in its ids.
    #[error(
        "{origin}: this tokenizer loses {lost:?}: it reads {text:?} back as {read:?}; take such text out of what it is given, or use a model whose tokenizer can spell it"
    )]
    TextLost {
        /// The tokenizer's file, or what it was made from.
        origin: String,
        /// The first text that is lost.
        lost: String,
        /// What surrounds it.
        text: String,
        /// The same as the ids are read.
        read: String,
    },

    /// Tokens could not be added.
    #[error("token {token:?} cannot be added: {reason}")]
    AddToken {
        /// The token.
        token: String,
        /// Why not.
        reason: String,
    },

    /// The model has no chat template.
    #[error(
        "{origin}: no chat template (neither chat_template.jinja nor the key `chat_template`); a chat model is needed, or a template beside it"
    )]
    NoTemplate {
        /// Where it was looked for.
        origin: String,
    },

    /// The chat template cannot be parsed.
    #[error(
        "the chat template cannot be parsed: {reason}; put a corrected template into chat_template.jinja beside the model"
    )]
    TemplateSyntax {
        /// The parser's words, with the line.
        reason: String,
    },

    /// The chat template failed while it ran.
    #[error(
        "the chat template failed: {reason}; change the messages to what the template allows, or put a corrected template into chat_template.jinja"
    )]
    TemplateRun {
        /// The engine's words, with the line.
        reason: String,
    },

    /// The chat template refused the messages in its own words.
    #[error(
        "the chat template refuses these messages: {reason}; change the messages to what the template allows, or give a model whose template takes \
         them"
    )]
    TemplateRefused {
        /// What the template passed to `raise_exception`.
        reason: String,
    },

    /// The chat template used up its budget.
    #[error(
        "the chat template did not finish within its budget of {fuel} steps (one step is an instruction or 64 bytes): it loops too long or builds too much text; put a corrected template into chat_template.jinja"
    )]
    TemplateBudget {
        /// The budget.
        fuel: u64,
    },

    /// The chat template asks for the date and none was given.
    #[error(
        "the chat template asks for the date (strftime_now), and none was given; set data.template_date to a day, for example \"2026-11-26\""
    )]
    NoDate,

    /// The chat template is too long to be one.
    #[error(
        "the chat template has {bytes} bytes; at most {limit} are accepted: put a shorter one into chat_template.jinja"
    )]
    TemplateTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },

    /// Nothing to encode.
    #[error("{what}; a row needs {needed}")]
    BadMessages {
        /// What is wrong.
        what: String,
        /// What would be right.
        needed: &'static str,
    },

    /// The template changed a content that holds a control token's text, so that the text could not be kept harmless.
    #[error(
        "message {index} ({role}) holds the text of a control token ({literal:?}), and the chat template rewrites or drops part of that message, so that the text cannot be kept from becoming a token; remove the row or the text"
    )]
    ContentRewritten {
        /// Place of the message, from 0.
        index: usize,
        /// Its role.
        role: &'static str,
        /// The control token found in it.
        literal: String,
    },

    /// A text could not be found in the rendering.
    #[error(
        "Aludel cannot tell where message {index} ({role}) stands in what the chat template prints: the template decides by what that message says, and its text stands there in more than one place; this is a limit of Aludel and no fault of the row: change the text a little, leave the row out, or put a template that does not look at the text into chat_template.jinja"
    )]
    ContentNotFound {
        /// Place of the message, from 0.
        index: usize,
        /// Its role.
        role: &'static str,
    },

    /// The template did not render the assistant's turn where it belongs.
    #[error(
        "the chat template renders the assistant's message {index} {times} times; for training it must appear exactly once: use the model's own chat template, or put one that renders every turn into chat_template.jinja"
    )]
    TurnNotRendered {
        /// Place of the message, from 0.
        index: usize,
        /// How often it appeared.
        times: usize,
    },

    /// The template changes the answer that is trained on.
    #[error(
        "the chat template changes the text of the assistant's message {index}, so that the student would learn another text than the data's: change the answer to what the template leaves as it is, or put a template that prints answers unchanged into chat_template.jinja"
    )]
    TurnRewritten {
        /// Place of the message, from 0.
        index: usize,
    },

    /// The template puts other messages after the turn that is trained on.
    #[error(
        "the chat template puts other messages behind the assistant's message {index}, the last one given: what the model is to write must come last; put a template that keeps the order of the messages into chat_template.jinja"
    )]
    TurnNotLast {
        /// Place of the message, from 0.
        index: usize,
    },

    /// The template drops a part of the use of tools.
    #[error(
        "the chat template does not render {what}, so that the student would learn without it: use the model's own chat template if it knows tools, put one that renders them into chat_template.jinja, or take `tools`, `tool_calls` and messages of role `tool` out of the row"
    )]
    ToolsNotRendered {
        /// What it drops.
        what: String,
    },

    /// The template fails at a message that only calls.
    #[error(
        "the chat template fails at a message that calls a tool and says nothing, so that it knows no tools ({reason}): use the model's own chat template if that knows tools, put one that renders them into chat_template.jinja, or take `tools`, `tool_calls` and messages of role `tool` out of the row"
    )]
    ToolsNotKnown {
        /// The engine's words, with the line.
        reason: String,
    },

    /// The template drops or changes the text beside calls.
    #[error(
        "the chat template does not render the text beside the calls of the assistant's message {index} as it is: take the text out of that message, or put a template that prints text and calls into chat_template.jinja"
    )]
    TextBesideCallLost {
        /// Place of the message, from 0.
        index: usize,
    },

    /// What the template prints for a turn with calls does not follow the prompt.
    #[error(
        "what the chat template renders for the calls of the assistant's message {index} does not follow what it renders for the messages before, so that it cannot be told what the model is to write: put a template that renders every turn behind the others into chat_template.jinja"
    )]
    CallNotApart {
        /// Place of the message, from 0.
        index: usize,
    },

    /// A text in a call or a definition spells a control token.
    #[error(
        "a tool or a call of message {index} holds the text of a control token ({literal:?}), which would become one in what the chat template prints; remove the row or the text"
    )]
    ControlInCall {
        /// Place of the message, from 0.
        index: usize,
        /// The control token.
        literal: String,
    },

    /// A row without any supervised token.
    #[error(
        "no token of this row would be trained; check that it has an assistant answer, that the weights of its turns and its own are not all 0, and that data.loss_on is \"assistant\", \"answer\" or \"all\""
    )]
    NothingSupervised,

    /// The reasoning fell out of the rendering.
    #[error(
        "the reasoning of assistant message {index} is not in the rendered row (the row has {rendered} of its {given} bytes): the student would learn to answer without it; use a template that keeps it, or drop the column"
    )]
    ReasoningLost {
        /// Place of the message, from 0.
        index: usize,
        /// Bytes of reasoning in the message.
        given: usize,
        /// Bytes found in the rendering.
        rendered: usize,
    },

    /// The reasoning would not be trained.
    #[error(
        "{missing} of the {total} reasoning tokens of a turn are outside the supervised tokens; set data.loss_on = \"assistant\""
    )]
    ReasoningNotSupervised {
        /// Tokens left out.
        missing: usize,
        /// Tokens in the reasoning.
        total: usize,
    },

    /// The end of the turn would not be trained.
    #[error(
        "the end of the assistant's turn ({text:?}) is not among the supervised tokens, so the student would never learn to stop; use a template that ends the turn with the model's end-of-turn token"
    )]
    EndOfTurnNotSupervised {
        /// What the template puts after the answer.
        text: String,
    },

    /// Cutting the row would cut the reasoning.
    #[error(
        "the row has {length} tokens and train.max_length is {max_length}, which cuts it before {close:?} (token {close_at}): the student would learn to think without end; raise train.max_length to at least {length}, or set data.long_rows = \"drop\""
    )]
    CutInsideReasoning {
        /// Tokens in the row.
        length: usize,
        /// The limit.
        max_length: usize,
        /// The closing tag.
        close: String,
        /// The token at which it ends.
        close_at: usize,
    },
}
