//! The cost of answers, and when the budget allows no further request. Each request in flight is counted with the cost of the
//! largest answer so far, so that the budget is never exceeded.

use crate::client::{Answer, Question};

/// Dollars per million tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Price {
    /// Tokens of the question.
    pub prompt: f64,
    /// Tokens of reasoning and answer.
    pub completion: f64,
}

/// An amount of dollars for people: below a dollar with fractions of cents, and zero only if it is zero.
pub fn dollars(amount: f64) -> String {
    match amount {
        0.0 => "$0".to_string(),
        amount if amount < 0.00005 => "less than $0.0001".to_string(),
        amount if amount < 0.99995 => format!("${amount:.4}"),
        amount => format!("${amount:.2}"),
    }
}

/// Tokens of one answer, or of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the question.
    pub prompt: u64,
    /// Tokens of reasoning and answer.
    pub completion: u64,
}

/// The budget of all runs on one store together; no limit where it is not set.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Budget {
    /// Dollars.
    pub cost: Option<f64>,
    /// Tokens of questions and answers.
    pub tokens: Option<u64>,
}

impl Price {
    /// The cost in dollars of this usage.
    pub fn of(&self, usage: Usage) -> f64 {
        (self.prompt * usage.prompt as f64 + self.completion * usage.completion as f64) / 1e6
    }
}

impl Usage {
    /// Both together.
    pub fn total(&self) -> u64 {
        self.prompt + self.completion
    }

    /// The server's count; without one, a token for every four bytes.
    pub(super) fn of(question: &Question, answer: &Answer) -> Usage {
        let asked: usize = question.messages.iter().map(|message| message.content.len()).sum();
        let said = answer.content.len() + answer.reasoning.as_ref().map_or(0, String::len);
        let guess = |bytes: usize| (bytes / 4) as u64 + 1;
        Usage {
            prompt: answer.prompt_tokens.unwrap_or_else(|| guess(asked)),
            completion: answer.completion_tokens.unwrap_or_else(|| guess(said)),
        }
    }
}

/// What the traces of a store cost before this run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct PriorSpending {
    pub(super) cost: f64,
    pub(super) tokens: u64,
    pub(super) answers: u64,
}

/// What was spent, and what is reserved for requests in flight.
#[derive(Debug)]
pub(super) struct BudgetTracker {
    budget: Budget,
    cost: f64,
    tokens: u64,
    on_their_way: u64,
    largest: Answered,
}

#[derive(Debug, Clone, Copy, Default)]
struct Answered {
    cost: f64,
    tokens: u64,
    /// An upper bound from the settings, until there are answers.
    is_guess: bool,
}

impl BudgetTracker {
    /// Before the first answer of this run, an answer is assumed to be like earlier ones, or else as long as the limit allows.
    pub(super) fn new(
        budget: Budget,
        spent: PriorSpending,
        price: Option<Price>,
        most_completion: Option<u32>,
    ) -> BudgetTracker {
        let bound = Usage { prompt: 0, completion: u64::from(most_completion.unwrap_or(0)) };
        let (cost, tokens) = match spent.answers {
            0 => (price.unwrap_or_default().of(bound), bound.total()),
            answers => (spent.cost / answers as f64, spent.tokens.div_ceil(answers)),
        };
        let largest = Answered { cost, tokens, is_guess: true };
        BudgetTracker { budget, cost: spent.cost, tokens: spent.tokens, on_their_way: 0, largest }
    }

    /// Whether the budget allows one more request; otherwise why not.
    pub(super) fn allows(&self) -> Result<(), String> {
        let promised = self.on_their_way + 1;
        let is_bounded = self.budget.cost.is_some() || self.budget.tokens.is_some();
        if is_bounded && self.largest.is_guess && self.largest.tokens == 0 && self.on_their_way > 0 {
            return Err("nothing is known of what an answer takes, and the first is on its way".to_string());
        }
        if let Some(most) = self.budget.cost
            && !(self.cost + promised as f64 * self.largest.cost <= most && self.cost < most)
        {
            return Err(format!(
                "{} of ${most} are spent, and the next answer may cost {}",
                dollars(self.cost),
                dollars(self.largest.cost)
            ));
        }
        if let Some(most) = self.budget.tokens
            && !(self.tokens + promised * self.largest.tokens <= most && self.tokens < most)
        {
            return Err(format!(
                "{} of {} tokens are spent, and the next answer may take {}",
                aludel_files::grouped(self.tokens),
                aludel_files::grouped(most),
                aludel_files::grouped(self.largest.tokens)
            ));
        }
        Ok(())
    }

    /// A request was sent.
    pub(super) fn promise(&mut self) {
        self.on_their_way += 1;
    }

    /// A request ended: with an answer, whose cost counts if it is known, or without one.
    pub(super) fn settle(&mut self, answer: Option<(Option<f64>, u64)>) {
        self.on_their_way = self.on_their_way.saturating_sub(1);
        let Some((cost, tokens)) = answer else { return };
        let cost = cost.unwrap_or_default();
        self.cost += cost;
        self.tokens += tokens;
        let before = if self.largest.is_guess { Answered::default() } else { self.largest };
        self.largest = Answered { cost: before.cost.max(cost), tokens: before.tokens.max(tokens), is_guess: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price = Price { prompt: 1.0, completion: 2.0 };

    #[test]
    fn an_amount_is_nothing_only_if_it_is() {
        let shown = [0.0, 0.00001, 0.0123, 0.99996, 12.345].map(dollars);
        assert_eq!(shown, ["$0", "less than $0.0001", "$0.0123", "$1.00", "$12.35"]);
    }

    #[test]
    fn a_price_is_for_a_million_tokens() {
        assert_eq!(PRICE.of(Usage { prompt: 500_000, completion: 1_000_000 }), 2.5);
    }

    #[test]
    fn a_budget_is_never_overrun_by_answers_like_those_before() {
        for (budget, at_once) in [(1000, 1), (1000, 7), (95, 64)] {
            let mut spending = BudgetTracker::new(
                Budget { cost: None, tokens: Some(budget) },
                PriorSpending::default(),
                Some(PRICE),
                Some(10),
            );
            let mut on_their_way = 0;
            loop {
                while on_their_way < at_once && spending.allows().is_ok() {
                    spending.promise();
                    on_their_way += 1;
                }
                if on_their_way == 0 {
                    break;
                }
                spending.settle(Some((Some(0.0), 10)));
                on_their_way -= 1;
            }
            assert_eq!(spending.tokens, budget / 10 * 10);
        }
    }

    #[test]
    fn what_earlier_runs_spent_counts() {
        let spending = BudgetTracker::new(
            Budget { cost: Some(2.0), tokens: None },
            PriorSpending { cost: 2.0, tokens: 5, answers: 1 },
            Some(PRICE),
            None,
        );
        assert!(spending.allows().unwrap_err().contains("$2.00 of $2 are spent"));
        let mut spending = BudgetTracker::new(
            Budget { cost: Some(2.0), tokens: None },
            PriorSpending { cost: 1.0, tokens: 5, answers: 2 },
            Some(PRICE),
            None,
        );
        spending.promise();
        spending.settle(Some((Some(0.6), 100)));
        assert!(spending.allows().is_err(), "an answer as large as the last would cost too much");
        let mut spending =
            BudgetTracker::new(Budget { cost: None, tokens: Some(9) }, PriorSpending::default(), Some(PRICE), None);
        assert!(spending.allows().is_ok());
        spending.promise();
        assert!(spending.allows().is_err(), "the first answer tells what the second may take");
    }
}
