//! Which vocabulary rows an adapter can train: the one rule, for new adapters and for those that are loaded. Where the rows start is
//! left to the training.

use std::collections::HashSet;

use crate::config::Config;

/// Refuses token ids that are listed twice, that leave a gap behind the vocabulary, or that have a row to be read and none to be said.
/// What passes is bounded: ids lie below the vocabulary and the rows that extend it.
pub(super) fn check(config: &Config, embedding: &[u32], head: &[u32]) -> Result<(), String> {
    let (of_embedding, of_head) = (new_ids(config, "embed_tokens", embedding)?, new_ids(config, "lm_head", head)?);
    if config.tie_word_embeddings || of_embedding == of_head {
        return Ok(());
    }
    let (has, lacks) = if of_embedding > of_head { ("embed_tokens", "lm_head") } else { ("lm_head", "embed_tokens") };
    Err(format!(
        "token {} is new to the vocabulary of {}, and the adapter has a row of {has} for it but none of {lacks}, which this model does not \
         tie to it; train it again with the same tokens for both: trainable_token_indices = {{\"embed_tokens\": […], \"lm_head\": […]}}",
        config.vocab_size + of_embedding.min(of_head),
        config.vocab_size,
    ))
}

/// How many of the ids extend the vocabulary.
fn new_ids(config: &Config, table: &str, ids: &[u32]) -> Result<usize, String> {
    let mut seen = HashSet::with_capacity(ids.len());
    if let Some(id) = ids.iter().find(|id| !seen.insert(**id)) {
        return Err(format!(
            "it lists token {id} twice for {table}, so that one of its rows would be lost; list each token once"
        ));
    }
    let vocab_size = config.vocab_size;
    let mut new: Vec<u32> = ids.iter().copied().filter(|&id| id as usize >= vocab_size).collect();
    new.sort_unstable();
    match new.iter().zip(vocab_size..).find(|(id, wanted)| **id as usize != *wanted) {
        None => Ok(new.len()),
        Some((id, wanted)) => Err(format!(
            "it trains token {id} of {table}, but the model's vocabulary of {vocab_size} has no token {wanted} before it, and nor has the \
             adapter; give the base that it was trained on, or train it with all tokens from {vocab_size} on"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_in_the_vocabulary_or_follow_it() {
        let config = |tied| {
            let text = format!(
                r#"{{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 100, "hidden_size": 8,
                "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "tie_word_embeddings": {tied},
                "max_position_embeddings": 64, "rms_norm_eps": 1e-5}}"#
            );
            Config::from_hf(&serde_json::from_str(&text).unwrap(), "config.json".as_ref()).unwrap()
        };
        let (tied, untied) = (config(true), config(false));
        for ids in [&[][..], &[0, 99], &[7, 3], &[100], &[101, 5, 100, 102]] {
            assert_eq!(check(&tied, ids, &[]), Ok(()), "{ids:?}");
            assert_eq!(check(&untied, ids, ids), Ok(()), "{ids:?}");
        }
        // rows of the vocabulary may be trained in one table alone
        assert_eq!(check(&untied, &[5, 100], &[100, 8]), Ok(()));
        assert_eq!(check(&untied, &[5], &[]), Ok(()));
        for (ids, said) in [
            (&[5, 5][..], "token 5 twice"),
            (&[108], "no token 100 before it"),
            (&[100, 102], "no token 101 before it"),
            (&[4_000_000_000], "no token 100 before it"),
            (&[100, 100], "token 100 twice"),
        ] {
            for config in [&tied, &untied] {
                let reason = check(config, ids, ids).unwrap_err();
                assert!(reason.contains(said), "{ids:?}: {reason}");
            }
        }
        for (embedding, head, said) in [
            (
                &[100][..],
                &[][..],
                "token 100 is new to the vocabulary of 100, and the adapter has a row of embed_tokens",
            ),
            (&[], &[100], "a row of lm_head for it but none of embed_tokens"),
            (&[100, 101], &[100], "token 101 is new"),
        ] {
            let reason = check(&untied, embedding, head).unwrap_err();
            assert!(reason.contains(said), "{reason}");
        }
    }
}
