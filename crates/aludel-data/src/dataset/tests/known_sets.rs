//! Rows as the well-known sets of reasoning have them: each is read with its parts in their places, and none of its other columns is in the way.
//! Names of columns are theirs; texts are short ones of our own.

use super::*;

fn learnt(row: Value, wanted: &[Message], not_used: &[&str]) {
    let (records, counts) = read(row.to_string().as_bytes(), &ReadOptions::default());
    let record = records[0].as_ref().unwrap_or_else(|error| panic!("{row}: {error}"));
    assert_eq!((record.messages(), &record.flaw, record.weight), (Some(wanted), &None, 1.0), "{row}");
    let mut named: Vec<&str> = counts.columns_not_used.iter().map(String::as_str).collect();
    named.sort_unstable();
    assert_eq!(named, not_used, "{row}");
}

fn turns(answer: &str) -> Value {
    json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}])
}

#[test]
fn right_answers_and_what_curation_writes_are_known() {
    let row = json!({"messages": turns("a"), "gold": "4", "Final Answer": "4", "verifier": {"kind": "maths"}, "prompt_id": "p", "hash": "h",
        "origin": "f:1", "verdict": "right", "verified": true, "reason": "wrong", "detail": "d", "golden": "4"});
    learnt(row, &[user("q"), Message::assistant("a")], &["golden"]);
}

#[test]
fn conversations_with_their_notes() {
    let wanted = [user("q"), thought("r", "a")];
    // OpenThoughts, Bespoke-Stratos, Sky-T1
    let tagged = "<|begin_of_thought|>\n\nr\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\na\n\n<|end_of_solution|>";
    learnt(
        json!({"system": "s", "conversations": [{"from": "user", "value": "q"}, {"from": "assistant", "value": tagged}]}),
        &[Message::system("s"), user("q"), thought("r", "a")],
        &[],
    );
    // OpenThoughts2, OpenThoughts3
    learnt(
        json!({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "<think>\nr\n</think>\n\na"}],
            "question": "q", "source": "s", "id": 1, "difficulty": 7, "domain": "math"}),
        &wanted,
        &["difficulty", "domain", "id", "question", "source"],
    );
    // OpenR1-Math
    learnt(
        json!({"problem": "q", "solution": "s", "answer": "4", "problem_type": "Algebra", "question_type": "math-word-problem",
            "source": "olympiads", "uuid": "u", "is_reasoning_complete": [true, true], "generations": ["a", "b"],
            "correctness_math_verify": [true, false], "correctness_llama": null, "finish_reasons": null, "correctness_count": 1,
            "messages": turns("<think>\nr\n</think>\n\na")}),
        &wanted,
        &[
            "correctness_count",
            "correctness_math_verify",
            "generations",
            "is_reasoning_complete",
            "problem",
            "problem_type",
            "question_type",
            "solution",
            "source",
            "uuid",
        ],
    );
    // OpenThoughts-114k-math: the answer was compared
    let row = |correct: bool| {
        json!({"source": "s", "problem": "q", "solution": "a", "messages": turns("<think>r</think>a"), "system": "",
            "conversations": [{"from": "user", "value": "q"}, {"from": "assistant", "value": "<think>r</think>a"}],
            "generated_token_count": 9, "correct": correct})
    };
    learnt(row(true), &wanted, &["conversations", "generated_token_count", "problem", "solution", "source"]);
    check_error(
        row(false).to_string().as_bytes(),
        &ReadOptions::default(),
        &["marked as not to be used (correct is false)"],
    );
    // Mixture-of-Thoughts
    learnt(
        json!({"messages": turns("<think>\nr\n</think>\na"), "num_tokens": 900, "source": "open-r1/x"}),
        &wanted,
        &["num_tokens", "source"],
    );
    // AM-DeepSeek-R1-Distilled
    let info = json!({"source": "s", "reference_answer": null, "test_case": null, "think_content": "r", "answer_content": "a"});
    learnt(
        json!({"messages": [{"role": "user", "content": "q", "info": info}, {"role": "assistant",
            "content": "<think>r</think>\n<answer>a</answer>", "info": info}]}),
        &[user("q"), thought("r", "<answer>a</answer>")],
        &[],
    );
    // NuminaMath-CoT, NuminaMath-TIR
    learnt(
        json!({"source": "synthetic_math", "problem": "q", "solution": "a", "messages": turns("a")}),
        &[user("q"), Message::assistant("a")],
        &["problem", "solution", "source"],
    );
    // Dolphin-R1 asks in the conversation and answers beside it
    learnt(
        json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}], "reasoning": "r", "answer": "a",
            "model": "m"}),
        &[Message::system("s"), user("q"), thought("r", "a")],
        &["model"],
    );
    // UltraChat, Tulu
    learnt(
        json!({"prompt": "q", "prompt_id": "x", "id": "y", "messages": turns("a"), "source": "s"}),
        &[user("q"), Message::assistant("a")],
        &["id", "prompt", "source"],
    );
}

#[test]
fn questions_with_their_notes() {
    // LIMO
    learnt(
        json!({"question": "q", "solution": "r, so a", "answer": "4"}),
        &[user("q"), Message::assistant("r, so a")],
        &[],
    );
    // NuminaMath-1.5, OpenR1-Math without its conversations
    let numina = |problem: &str, solution: &str| {
        json!({"problem": "q", "solution": "a", "answer": "4", "problem_type": "Algebra", "question_type": "math-word-problem",
            "problem_is_valid": problem, "solution_is_valid": solution, "source": "s", "synthetic": false})
    };
    learnt(
        numina("Yes", "Yes"),
        &[user("q"), Message::assistant("a")],
        &["problem_type", "question_type", "source", "synthetic"],
    );
    for row in [numina("Incomplete", "Yes"), numina("Yes", "Problem not solved")] {
        check_error(row.to_string().as_bytes(), &ReadOptions::default(), &["marked as not to be used", "is_valid is"]);
    }
    // medical-o1-reasoning-SFT
    learnt(json!({"Question": "q", "Complex_CoT": "r", "Response": "a"}), &[user("q"), thought("r", "a")], &[]);
    // s1K-1.1, whose columns have to be named
    let row = json!({"question": "q", "solution": "4", "cot_type": "math", "source_type": "s", "metadata": "{'a': 1}", "cot": null,
        "gemini_thinking_trajectory": "other", "gemini_attempt": "b", "deepseek_thinking_trajectory": "r",
        "deepseek_attempt": "a", "gemini_grade": "No", "gemini_grade_reason": "x", "deepseek_grade": "Yes",
        "deepseek_grade_reason": "y"});
    check_error(row.to_string().as_bytes(), &ReadOptions::default(), &["data.columns", "deepseek_attempt"]);
    let named = columns(&[("response", "deepseek_attempt"), ("reasoning", "deepseek_thinking_trajectory")]);
    check_with(&named, row, &[user("q"), thought("r", "a")]);
    // OpenThoughts' metadata and OpenMathReasoning: the same
    let row = json!({"problem": "q", "deepseek_reasoning": "r", "deepseek_solution": "a", "ground_truth_solution": null,
        "domain": "math", "source": "s", "test_cases": null, "starter_code": null});
    let named = columns(&[("prompt", "problem"), ("response", "deepseek_solution")]);
    check_with(&named, row, &[user("q"), thought("r", "a")]);
    let row = json!({"expected_answer": "4", "problem_type": "has_answer_extracted", "problem": "q", "problem_source": "s",
        "generation_model": "m", "pass_rate_72b_tir": "0.5", "generated_solution": "<think>r</think>a", "inference_mode": "cot"});
    let named = columns(&[("prompt", "problem"), ("response", "generated_solution")]);
    check_with(&named, row, &[user("q"), thought("r", "a")]);
}
