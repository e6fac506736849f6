//! All endpoints: which of them are available, which gets the next request, and their last errors. A single endpoint is described
//! in `endpoint`.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::endpoint::{Availability, Endpoint};
use super::progress::{EndpointProgress, Event, Notice};
use super::rate_limit::Rates;
use crate::client::{Failure, Teacher};

pub(super) struct Endpoints {
    all: Vec<Endpoint>,
}

/// Which endpoint gets the next request.
pub(super) enum NextEndpoint {
    /// This one, now.
    Endpoint(usize),
    /// None now; try again after the next result, or at this time if it is known.
    Wait(Option<Instant>),
    /// No one, ever.
    Nobody,
}

impl Endpoints {
    pub(super) fn new(teachers: Vec<Arc<dyn Teacher>>, most_at_once: usize, rates: Rates, now: Instant) -> Endpoints {
        let endpoint = |teacher| Endpoint::new(teacher, most_at_once, rates, now);
        Endpoints { all: teachers.into_iter().map(endpoint).collect() }
    }

    pub(super) fn get(&mut self, index: usize) -> &mut Endpoint {
        &mut self.all[index]
    }

    /// Checks each endpoint, all concurrently. One that refuses is excluded before the first request.
    pub(super) async fn check(&mut self, told: &mut dyn FnMut(Event)) {
        let mut checks = JoinSet::new();
        for (index, endpoint) in self.all.iter().enumerate() {
            let teacher = Arc::clone(&endpoint.teacher);
            checks.spawn(async move { (index, teacher.check().await) });
        }
        let mut unreachable = Vec::new();
        while let Some(Ok((index, checked))) = checks.join_next().await {
            match checked {
                Err(failure @ Failure::Refused { .. }) => {
                    self.all[index].put_out(failure.to_string());
                    told(Event::Notice(self.out(index)));
                }
                Err(failure @ Failure::Broken { .. }) => unreachable.push((index, failure.to_string())),
                _ => {}
            }
        }
        let silent = self.all.iter().filter(|endpoint| endpoint.is_out()).count() + unreachable.len();
        if silent < self.all.len() {
            return;
        }
        // An address without a server from the start is more likely wrong than temporarily down.
        for (index, words) in unreachable {
            self.all[index].put_out(words);
            told(Event::Notice(self.out(index)));
        }
    }

    /// The least busy available endpoint; the one that just failed with this question only if there is no other.
    pub(super) fn choose(&mut self, avoided: Option<usize>, now: Instant) -> NextEndpoint {
        let mut best: Option<(bool, f64, usize)> = None;
        let mut wake: Option<Instant> = None;
        let mut is_anyone_left = false;
        for (index, endpoint) in self.all.iter_mut().enumerate() {
            let availability = endpoint.availability(now);
            is_anyone_left |= availability != Availability::Never;
            match availability {
                Availability::Now(load) => {
                    let rank = (avoided == Some(index), load, index);
                    if best.is_none_or(|best| (rank.0, rank.1) < (best.0, best.1)) {
                        best = Some(rank);
                    }
                }
                Availability::At(until) => wake = Some(wake.map_or(until, |wake| wake.min(until))),
                Availability::WhenAnswered | Availability::Never => {}
            }
        }
        match best {
            Some((_, _, index)) => NextEndpoint::Endpoint(index),
            None if is_anyone_left => NextEndpoint::Wait(wake),
            None => NextEndpoint::Nobody,
        }
    }

    /// There is nothing more to ask.
    pub(super) fn idle(&mut self) {
        self.all.iter_mut().for_each(Endpoint::idle);
    }

    /// Concurrent requests of all endpoints together.
    pub(super) fn limit(&self) -> usize {
        self.all.iter().map(Endpoint::limit).sum()
    }

    /// Whether an endpoint is excluded.
    pub(super) fn out(&self, index: usize) -> Notice {
        let endpoint = &self.all[index];
        let words = endpoint.last_words().unwrap_or_default().to_string();
        Notice::Out { endpoint: endpoint.teacher.name().to_string(), words }
    }

    /// The last error of any of them.
    pub(super) fn any_words(&self) -> String {
        self.all.iter().find_map(|endpoint| endpoint.last_words()).unwrap_or("nothing").to_string()
    }

    /// The last error of each, with its name.
    pub(super) fn all_words(&self) -> Vec<String> {
        let said = |one: &Endpoint| format!("{}: {}", one.teacher.name(), one.last_words().unwrap_or("gone"));
        self.all.iter().map(said).collect()
    }

    pub(super) fn progress(&mut self, now: Instant) -> Vec<EndpointProgress> {
        self.all.iter_mut().map(|endpoint| endpoint.progress(now)).collect()
    }
}
