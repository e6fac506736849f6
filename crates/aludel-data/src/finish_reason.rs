//! Finish reasons: the words of all servers in one place, for answers and for rows of files alike.

use serde::{Deserialize, Serialize};

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended the answer. Only this makes an answer complete.
    Stop,
    /// The token limit was reached.
    Length,
    /// The server's content filter ended it.
    ContentFilter,
    /// The model asks for a tool call.
    ToolCalls,
    /// Anything else, in the server's words.
    Other(String),
}

impl Finish {
    /// The finish reason of a server's words in any case: those of OpenAI, Anthropic, Gemini, Mistral, Cohere, Bedrock, vLLM,
    /// SGLang, TGI, llama.cpp and Ollama. Unknown words are kept as they are.
    pub fn of(words: &str) -> Finish {
        match plain(words).as_str() {
            "stop" | "stopped" | "eos" | "eos_token" | "stop_sequence" | "stop_token" | "stop_word" | "end_turn"
            | "end_of_turn" | "end" | "complete" | "completed" | "finish" | "finished" | "done" => Finish::Stop,
            "length"
            | "max_tokens"
            | "max_length"
            | "max_new_tokens"
            | "max_output_tokens"
            | "max_completion_tokens"
            | "model_length"
            | "context_length"
            | "context_length_exceeded"
            | "model_context_window_exceeded"
            | "limit"
            | "token_limit"
            | "error_limit"
            | "incomplete"
            | "truncated" => Finish::Length,
            "content_filter"
            | "content_filtered"
            | "safety"
            | "recitation"
            | "blocklist"
            | "prohibited_content"
            | "spii"
            | "image_safety"
            | "guardrail_intervened"
            | "error_toxic" => Finish::ContentFilter,
            "tool_calls" | "tool_call" | "tool_use" | "function_call" => Finish::ToolCalls,
            _ => Finish::Other(words.trim().to_owned()),
        }
    }

    /// Whether the answer is complete.
    pub fn is_complete(&self) -> bool {
        *self == Finish::Stop
    }

    /// Whether a limit ended the answer: what exists is usable, and more would have followed.
    pub fn is_limit(&self) -> bool {
        *self == Finish::Length
    }

    /// The name in stores and files.
    pub fn as_str(&self) -> &str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::ContentFilter => "content_filter",
            Finish::ToolCalls => "tool_calls",
            Finish::Other(words) => words,
        }
    }
}

/// Words without case and separators.
pub fn plain(words: &str) -> String {
    let words = words.trim().to_ascii_lowercase().replace(['-', ' ', '.'], "_");
    // Gemini's constants, and Python's spelling of enumeration members.
    let bare = ["finish_reason_", "finishreason_"].iter().find_map(|prefix| words.strip_prefix(prefix));
    bare.map(str::to_owned).unwrap_or(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_the_same_in_any_case() {
        for words in [
            "stop",
            "STOP",
            "Stop",
            " stop ",
            "eos_token",
            "EOS",
            "end_turn",
            "FINISH_REASON_STOP",
            "FinishReason.STOP",
            "COMPLETE",
        ] {
            assert_eq!(Finish::of(words), Finish::Stop, "{words}");
        }
        for words in ["length", "LENGTH", "MAX_TOKENS", "max_tokens", "max-tokens", "model_length", "ERROR_LIMIT"] {
            assert_eq!(Finish::of(words), Finish::Length, "{words}");
        }
        assert_eq!(Finish::of("content-filter"), Finish::ContentFilter);
        assert_eq!(Finish::of("SAFETY"), Finish::ContentFilter);
        assert_eq!(Finish::of("tool_use"), Finish::ToolCalls);
        assert_eq!(Finish::of("Pause_Turn"), Finish::Other("Pause_Turn".to_owned()));
        assert!(!Finish::of("pause_turn").is_complete());
    }
}
