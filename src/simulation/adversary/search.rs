//! Random strategies, then hill climbing: mutations of the best strategy that is known for each objective.

use super::{Conditions, Outcome, Random, Strategy, play};
use std::{collections::BTreeMap, thread};

/// What a search maximizes: its name, and how good an outcome is compared with that of the honest baseline of the
/// strategy.
pub type Objective = (&'static str, fn(&Outcome, &Outcome) -> f64);

/// All objectives.
pub const OBJECTIVES: [Objective; 6] = [
    ("profit", Outcome::gain),
    ("forging", |found, honest| if found.kept[1] > 0 { found.gain(honest) } else { f64::NEG_INFINITY }),
    ("loss", |found, _| found.loss),
    ("supply", |found, _| found.supply),
    ("capture", |found, _| {
        found.captured as f64 / found.rounds.max(1) as f64 + f64::from(u8::from(found.captured > 0))
    }),
    ("stall", |found, honest| {
        found.blocks as f64 / honest.blocks.max(1) as f64 + if found.halted { 100.0 } else { 0.0 }
    }),
];

/// The number of games by which a strategy is judged that was better than all others in its first game. They differ in
/// their seeds, so that a lucky draw of verifiers does not count as a cheat.
const TRIALS: u64 = 6;
/// The number of strategies that are chosen before any of them is played. They are played at the same time.
const BATCH: usize = 16;

/// A search. It yields the same strategies for the same conditions and seed, on any number of threads.
pub struct Search {
    conditions: Conditions,
    random: Random,
    seed: u64,
    threads: usize,
    /// For each objective, the best strategy, its mean value and the outcome of its first game.
    best: BTreeMap<&'static str, (f64, Strategy, Outcome)>,
    /// The outcomes of honest baselines, by strategy and trial.
    baselines: BTreeMap<(Strategy, u64), Outcome>,
    games: u64,
}

impl Search {
    /// Starts a search that plays as many games at a time as there are `threads`.
    pub fn new(conditions: Conditions, seed: u64, threads: usize) -> Self {
        let (best, baselines) = (BTreeMap::new(), BTreeMap::new());
        Self { conditions, random: Random(seed), seed, threads, best, baselines, games: 0 }
    }

    /// Returns the number of games that have been played, without those of honest baselines.
    pub fn games(&self) -> u64 {
        self.games
    }

    /// Returns, for each objective, the best strategy, its mean value and the outcome of its first game.
    pub fn best(&self) -> &BTreeMap<&'static str, (f64, Strategy, Outcome)> {
        &self.best
    }

    /// Plays games at the same time. Each game is a strategy and the number of the trial, which varies the seed.
    fn play_all(&self, games: &[(Strategy, u64)]) -> Vec<Outcome> {
        let play = |(strategy, trial): &(Strategy, u64)| play(&self.conditions, strategy, self.seed + trial);
        let each = games.len().div_ceil(self.threads.max(1)).max(1);
        thread::scope(|scope| {
            let chunks =
                games.chunks(each).map(|games| scope.spawn(move || games.iter().map(play).collect::<Vec<_>>()));
            let threads: Vec<_> = chunks.collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("games do not panic")).collect()
        })
    }

    /// Returns the outcome of a trial of the honest baseline of a strategy.
    pub fn baseline(&mut self, strategy: &Strategy, trial: u64) -> Outcome {
        let (conditions, seed) = (&self.conditions, self.seed + trial);
        let key = (strategy.honest_baseline(), trial);
        self.baselines.entry(key).or_insert_with_key(|(baseline, _)| play(conditions, baseline, seed)).clone()
    }

    /// Plays strategies, and keeps each one that is the best one for an objective. Returns the objectives for which
    /// each strategy is.
    pub fn offer(&mut self, strategies: &[Strategy]) -> Vec<Vec<&'static str>> {
        let games: Vec<_> = strategies.iter().map(|strategy| (strategy.clone(), 0)).collect();
        let first = self.play_all(&games);
        self.games += games.len() as u64;
        strategies.iter().zip(first).map(|(strategy, first)| self.judge(strategy, first)).collect()
    }

    /// Plays further trials of a strategy if its first outcome is better than the best one for an objective. Returns
    /// the objectives for which it is better in the mean.
    fn judge(&mut self, strategy: &Strategy, first: Outcome) -> Vec<&'static str> {
        let honest = self.baseline(strategy, 0);
        let promising: Vec<Objective> = OBJECTIVES
            .into_iter()
            .filter(|(name, value)| self.best.get(name).is_none_or(|(best, ..)| value(&first, &honest) > *best))
            .collect();
        if promising.is_empty() {
            return Vec::new();
        }
        let games: Vec<_> = (1..TRIALS).map(|trial| (strategy.clone(), trial)).collect();
        let mut outcomes = vec![first];
        outcomes.extend(self.play_all(&games));
        self.games += games.len() as u64;
        let honest: Vec<Outcome> = (0..TRIALS).map(|trial| self.baseline(strategy, trial)).collect();
        let mut improved = Vec::new();
        for (name, value) in promising {
            let values = outcomes.iter().zip(&honest).map(|(found, honest)| value(found, honest));
            let mean = values.sum::<f64>() / TRIALS as f64;
            if self.best.get(name).is_none_or(|(best, ..)| mean > *best) {
                self.best.insert(name, (mean, strategy.clone(), outcomes[0].clone()));
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
            if objective.1(&found, &self.baseline(&simpler, 0)) >= 0.9 * best {
                (strategy, outcome) = (simpler, found);
            }
        }
        Some((strategy, outcome))
    }

    /// Plays the next 16 strategies: random ones, or, if `climbs` is true, mutations of the best ones for the
    /// objectives `among`. Returns each strategy and the objectives for which it is the best one so far.
    ///
    /// # Panics
    ///
    /// Panics if `among` is empty.
    pub fn step(&mut self, climbs: bool, among: &[Objective]) -> Vec<(Strategy, Vec<&'static str>)> {
        let next = |search: &mut Self| {
            let objective = among[search.random.below(among.len() as u64) as usize].0;
            let worth = search.best.get(objective).filter(|(value, ..)| climbs && value.is_finite() && *value != 0.0);
            match worth {
                Some((_, best, _)) => best.mutated(&mut search.random),
                None => Strategy::random(&mut search.random),
            }
        };
        let strategies: Vec<Strategy> = (0..BATCH).map(|_| next(self)).collect();
        let improved = self.offer(&strategies);
        strategies.into_iter().zip(improved).collect()
    }
}
