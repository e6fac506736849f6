//! 42 classes of answers with 20 pairs each that are equal and 20 that are not (`tools/peers/verify_pairs.py` writes
//! them). What is equal is settled by how the pairs were made, so a pair that fails here is a mistake of ours.

use aludel_traces::verify::{Verdict, maths};

/// Equal pairs that are not recognised, with the reason. None at present.
const KNOWN_REFUSALS: [(&str, &str); 0] = [];

#[test]
fn every_equal_pair_is_accepted_and_no_other() {
    let mut counted = [0, 0];
    for line in include_str!("fixtures/maths_pairs.jsonl").lines() {
        let pair: serde_json::Value = serde_json::from_str(line).unwrap();
        let (gold, answer) = (pair["gold"].as_str().unwrap(), pair["answer"].as_str().unwrap());
        let verdict = maths::verdict(answer, gold);
        if pair["equal"].as_bool().unwrap() {
            counted[0] += 1;
            let known = KNOWN_REFUSALS.contains(&(gold, answer));
            assert_eq!(verdict == Verdict::Right, !known, "{line}: {verdict:?}");
        } else {
            counted[1] += 1;
            assert_ne!(verdict, Verdict::Right, "{line}");
        }
    }
    assert_eq!(counted, [840, 840]);
}
