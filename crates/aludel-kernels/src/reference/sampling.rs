//! Choosing tokens, with all of them sorted.

use super::Values;
use crate::device::{Context, Indices, List, Mat};
use crate::sampling::{Choice, Chosen, NEVER, penalised};

pub(crate) fn choose(ctx: &mut Context, logits: Mat, choices: List<Choice>, seen: Indices, chosen: Chosen) {
    if ctx.planning() {
        return;
    }
    let (logits, seen) = (Values::of(ctx, logits), ctx.entries(seen));
    let rows = ctx.entries(choices).iter().enumerate();
    let tokens: Vec<Option<u32>> = rows.map(|(i, choice)| token(choice, logits.row(i), &seen[choice.seen()])).collect();
    ctx.write_list(chosen.tokens, tokens.iter().map(|token| token.unwrap_or(0)));
    ctx.write_list(chosen.is_sound, tokens.iter().map(|token| u32::from(token.is_some())));
}

fn token(how: &Choice, logits: &[f32], seen: &[u32]) -> Option<u32> {
    if logits.iter().any(|x| x.is_nan() || *x == f32::INFINITY) || logits.iter().all(|x| *x == f32::NEG_INFINITY) {
        return None;
    }
    let score = |id: u32| match logits[id as usize] {
        logit if how.repetition_penalty != 1.0 && seen.contains(&id) && logit.is_finite() => {
            penalised(how.repetition_penalty, logit)
        }
        logit => logit,
    };
    // the likeliest first, of equals the lowest id
    let mut tokens: Vec<(u32, f32)> = (0..logits.len() as u32).map(|id| (id, score(id))).collect();
    tokens.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let (likeliest, highest) = tokens[0];
    if how.temperature <= 0.0 {
        return Some(likeliest);
    }
    if let Some(&(_, lowest)) = (how.top_k as usize).checked_sub(1).and_then(|last| tokens.get(last)) {
        tokens.retain(|(_, score)| *score >= lowest);
    }
    tokens.retain(|(_, score)| *score >= highest - (NEVER * how.temperature) as f32);
    let weight = |score: f32| f64::from(((f64::from(score - highest) / how.temperature) as f32).exp());
    let mass: f64 = tokens.iter().map(|(_, score)| weight(*score)).sum();
    let mut before = 0.0;
    tokens.retain(|(_, score)| {
        let is_kept = how.top_p >= 1.0 || before < how.top_p * mass;
        before += weight(*score);
        is_kept && weight(*score) >= how.min_p && weight(*score) > 0.0
    });
    tokens.sort_by_key(|(id, _)| *id);
    let mut left = how.uniform * tokens.iter().map(|(_, score)| weight(*score)).sum::<f64>();
    let drawn = tokens.iter().find(|(_, score)| {
        left -= weight(*score);
        left < 0.0
    });
    drawn.or(tokens.last()).map(|(id, _)| *id)
}
