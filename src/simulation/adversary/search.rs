//! Random strategies, then hill climbing: mutations of the best strategy that is known for each objective.

use super::{Conditions, Outcome, Random, Strategy, play};
use std::collections::BTreeMap;

/// What a search maximizes: its name, and how good an outcome is compared with that of the honest baseline of the
/// strategy.
pub type Objective = (&'static str, fn(&Outcome, &Outcome) -> f64);

/// All objectives.
pub const OBJECTIVES: [Objective; 6] = [
    ("profit", |found, honest| found.profit - honest.profit),
    ("forging", |found, honest| if found.kept[1] > 0 { found.profit - honest.profit } else { f64::NEG_INFINITY }),
    ("loss", |found, _| found.loss),
    ("supply", |found, honest| found.supply - honest.supply),
    ("capture", |found, _| {
        found.captured as f64 / found.rounds.max(1) as f64 + f64::from(u8::from(found.captured > 0))
    }),
    ("stall", |found, honest| {
        found.blocks as f64 / honest.blocks.max(1) as f64 + if found.halted { 100.0 } else { 0.0 }
    }),
];

/// A search. It yields the same strategies for the same conditions and seed.
pub struct Search {
    conditions: Conditions,
    random: Random,
    seed: u64,
    /// For each objective, the best strategy, its value and its outcome.
    best: BTreeMap<&'static str, (f64, Strategy, Outcome)>,
    baselines: BTreeMap<Strategy, Outcome>,
    games: u64,
}

impl Search {
    /// Starts a search.
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        Self { conditions, random: Random(seed), seed, best: BTreeMap::new(), baselines: BTreeMap::new(), games: 0 }
    }

    /// Returns the number of strategies that have been played.
    pub fn games(&self) -> u64 {
        self.games
    }

    /// Returns, for each objective, the best strategy, its value and its outcome.
    pub fn best(&self) -> &BTreeMap<&'static str, (f64, Strategy, Outcome)> {
        &self.best
    }

    /// Returns the outcome of the honest baseline of a strategy.
    pub fn baseline(&mut self, strategy: &Strategy) -> Outcome {
        let baseline = strategy.honest_baseline();
        let (conditions, seed) = (&self.conditions, self.seed);
        self.baselines.entry(baseline).or_insert_with_key(|baseline| play(conditions, baseline, seed)).clone()
    }

    /// Plays a strategy that was found earlier, and keeps it if it is the best one for an objective. Returns the
    /// objectives for which it is.
    pub fn offer(&mut self, strategy: &Strategy) -> Vec<&'static str> {
        let found = play(&self.conditions, strategy, self.seed);
        let baseline = self.baseline(strategy);
        self.games += 1;
        let mut improved = Vec::new();
        for (name, value) in OBJECTIVES {
            let value = value(&found, &baseline);
            if self.best.get(name).is_none_or(|(best, ..)| value > *best) {
                self.best.insert(name, (value, strategy.clone(), found.clone()));
                improved.push(name);
            }
        }
        improved
    }

    /// Returns the best strategy for an objective without the genes that it does not need: without any of the remaining
    /// ones, it is worth less than nine tenths.
    pub fn simplified(&mut self, objective: Objective) -> Option<(Strategy, Outcome)> {
        let (best, mut strategy, mut outcome) = self.best.get(objective.0)?.clone();
        for simpler in strategy.clone().dishonest_genes() {
            let simpler = strategy.without(simpler);
            let found = play(&self.conditions, &simpler, self.seed);
            if objective.1(&found, &self.baseline(&simpler)) >= 0.9 * best {
                (strategy, outcome) = (simpler, found);
            }
        }
        Some((strategy, outcome))
    }

    /// Plays the next strategy: a random one, or, if `climbs` is true, a mutation of the best one for one of the
    /// objectives `among`. Returns the strategy and the objectives for which it is the best one so far.
    ///
    /// # Panics
    ///
    /// Panics if `among` is empty.
    pub fn step(&mut self, climbs: bool, among: &[Objective]) -> (Strategy, Vec<&'static str>) {
        let objective = among[self.random.below(among.len() as u64) as usize].0;
        let worth = self.best.get(objective).filter(|(value, ..)| climbs && value.is_finite() && *value != 0.0);
        let strategy = match worth {
            Some((_, best, _)) => best.mutated(&mut self.random),
            None => Strategy::random(&mut self.random),
        };
        let improved = self.offer(&strategy);
        (strategy, improved)
    }
}
