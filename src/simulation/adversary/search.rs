//! The search for strategies of dishonest coalitions. It first tries random strategies. Then it climbs: it tries
//! mutations of the best known strategy for each objective.

use super::{Conditions, Outcome, Random, Strategy, play};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    thread,
};

/// What a search maximizes. A higher rating is better.
#[derive(Clone, Copy, Debug)]
pub struct Objective {
    /// The name of the objective.
    pub name: &'static str,
    /// Rates the outcome of a strategy. The second argument is the outcome of the honest baseline, that is, of honest
    /// accounts with the same coins and nodes.
    rate: fn(&Outcome, &Outcome) -> f64,
    /// Whether the rating depends on luck: the coalition's verifiers earn more if they happen to be sampled more often.
    is_luck: bool,
}

/// All objectives of a search: what dishonest accounts gain, or how much they harm others.
pub const OBJECTIVES: [Objective; 6] = [
    Objective { name: "profit", rate: Outcome::gain, is_luck: true },
    Objective {
        name: "forging",
        rate: |found, honest| if found.kept[1] > 0 { found.gain(honest) } else { f64::NEG_INFINITY },
        is_luck: true,
    },
    Objective { name: "loss", rate: |found, _| found.loss, is_luck: false },
    Objective { name: "supply", rate: |found, _| found.supply, is_luck: false },
    Objective {
        name: "capture",
        rate: |found, _| found.captured as f64 / found.rounds.max(1) as f64 + f64::from(u8::from(found.captured > 0)),
        is_luck: false,
    },
    Objective {
        name: "stall",
        rate: |found, honest| {
            found.blocks as f64 / honest.blocks.max(1) as f64 + if found.halted { 100.0 } else { 0.0 }
        },
        is_luck: false,
    },
];

impl Objective {
    /// Returns the rating of a strategy from its ratings in several trials. This is their mean. If the ratings depend on
    /// luck, it is a lower bound of the mean: the mean minus two standard errors.
    fn combine(&self, ratings: &[f64]) -> f64 {
        let count = ratings.len() as f64;
        let mean = ratings.iter().sum::<f64>() / count;
        // the rating of a strategy without wrong gradients is infinite
        if !self.is_luck || !mean.is_finite() {
            return mean;
        }
        let variance = ratings.iter().map(|rating| (rating - mean) * (rating - mean)).sum::<f64>() / (count - 1.0);
        mean - 2.0 * (variance / count).sqrt()
    }
}

/// The numbers of the trials (simulations with different seeds) of a promising strategy. A strategy is promising if the
/// rating of its first trial is higher than the best known one. It counts as the best one only if its combined rating
/// over the first range of trials is the best. If the rating depends on luck, its combined rating over the second range
/// must be the best too, because the best of thousands of strategies over the same few trials is always a lucky one.
const TRIALS: [Range<u64>; 2] = [0..6, 6..30];
/// The number of strategies that are chosen before any of them is simulated. They are then simulated in parallel.
const BATCH: usize = 16;

/// A search for strategies of dishonest coalitions. It yields the same strategies for the same conditions and seed, on
/// any number of threads.
pub struct Search {
    conditions: Conditions,
    random: Random,
    seed: u64,
    threads: usize,
    /// For each objective, the best strategy, its rating, and the outcome of its first simulation.
    best: BTreeMap<&'static str, (f64, Strategy, Outcome)>,
    /// The outcomes of honest baselines: simulations in which honest accounts have the same coins and nodes as a
    /// coalition. The key consists of the strategy of the honest accounts and the number of the trial. This number is
    /// added to the seed of the simulation.
    baselines: BTreeMap<(Strategy, u64), Outcome>,
    games: u64,
}

impl Search {
    /// Creates a search that runs as many simulations at a time as there are `threads`.
    pub fn new(conditions: Conditions, seed: u64, threads: usize) -> Self {
        let (best, baselines) = (BTreeMap::new(), BTreeMap::new());
        Self { conditions, random: Random(seed), seed, threads, best, baselines, games: 0 }
    }

    /// Returns the number of simulations so far. Those of honest accounts, with which strategies are compared, are not
    /// counted.
    pub fn games(&self) -> u64 {
        self.games
    }

    /// Returns, for each objective, the best strategy, its combined rating, and the outcome of its first simulation.
    pub fn best(&self) -> &BTreeMap<&'static str, (f64, Strategy, Outcome)> {
        &self.best
    }

    /// Runs simulations (games) in parallel, and returns their outcomes in order. Each game is given as its strategy
    /// and the number of its trial, which is added to the seed.
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

    /// Simulates honest accounts with the same coins and nodes as the coalition that follows `strategy`, and returns
    /// the outcome. The number `trial` is added to the seed.
    pub fn baseline(&mut self, strategy: &Strategy, trial: u64) -> Outcome {
        let (conditions, seed) = (&self.conditions, self.seed + trial);
        let key = (strategy.honest_baseline(), trial);
        self.baselines.entry(key).or_insert_with_key(|(baseline, _)| play(conditions, baseline, seed)).clone()
    }

    /// Simulates, in parallel, the honest baseline of each given simulation: honest accounts with the same coins and
    /// nodes. Baselines that have already been simulated are not simulated again.
    fn prepare_baselines(&mut self, games: &[(Strategy, u64)]) {
        let keys = games.iter().map(|(strategy, trial)| (strategy.honest_baseline(), *trial));
        let missing: BTreeSet<_> = keys.filter(|key| !self.baselines.contains_key(key)).collect();
        let missing: Vec<_> = missing.into_iter().collect();
        let outcomes = self.play_all(&missing);
        self.baselines.extend(missing.into_iter().zip(outcomes));
    }

    /// Simulates strategies, and keeps each one that is the best so far for an objective. Returns, for each strategy,
    /// the names of the objectives for which it is the best one so far.
    pub fn offer(&mut self, strategies: &[Strategy]) -> Vec<Vec<&'static str>> {
        let games: Vec<_> = strategies.iter().map(|strategy| (strategy.clone(), 0)).collect();
        self.prepare_baselines(&games);
        let first = self.play_all(&games);
        self.games += games.len() as u64;
        strategies.iter().zip(first).map(|(strategy, first)| self.judge(strategy, &first)).collect()
    }

    /// Runs further trials of a strategy (simulations with other seeds) if its first trial, whose outcome is `first`,
    /// has a better rating than the best known strategy for an objective. Returns the names of the objectives for which
    /// `strategy` is now the best known one.
    fn judge(&mut self, strategy: &Strategy, first: &Outcome) -> Vec<&'static str> {
        let honest = self.baseline(strategy, 0);
        let is_better =
            |search: &Self, name: &str, rating: f64| search.best.get(name).is_none_or(|(best, ..)| rating > *best);
        let mut promising = OBJECTIVES.to_vec();
        promising.retain(|objective| is_better(self, objective.name, (objective.rate)(first, &honest)));
        let mut improved = Vec::new();
        for (trials, is_last) in TRIALS.into_iter().zip([false, true]) {
            if promising.is_empty() {
                break;
            }
            let games: Vec<_> = trials.map(|trial| (strategy.clone(), trial)).collect();
            self.prepare_baselines(&games);
            let outcomes = self.play_all(&games);
            self.games += games.len() as u64;
            let honest: Vec<Outcome> = games.iter().map(|(_, trial)| self.baseline(strategy, *trial)).collect();
            promising.retain(|objective| {
                let ratings = outcomes.iter().zip(&honest).map(|(found, honest)| (objective.rate)(found, honest));
                let rating = objective.combine(&ratings.collect::<Vec<_>>());
                let is_better = is_better(self, objective.name, rating);
                if is_better && (is_last || !objective.is_luck) {
                    self.best.insert(objective.name, (rating, strategy.clone(), first.clone()));
                    improved.push(objective.name);
                }
                is_better && objective.is_luck
            });
        }
        improved
    }

    /// Simplifies the best strategy for an objective, and returns the simplified strategy and its outcome. Each gene
    /// (setting) is set to its honest value if the rating of the strategy then remains at least nine tenths of the best
    /// rating. Returns `None` if no strategy is known for the objective.
    pub fn simplified(&mut self, objective: Objective) -> Option<(Strategy, Outcome)> {
        let (best, mut strategy, mut outcome) = self.best.get(objective.name)?.clone();
        for simpler in strategy.clone().dishonest_genes() {
            let simpler = strategy.without(simpler);
            let found = play(&self.conditions, &simpler, self.seed);
            if (objective.rate)(&found, &self.baseline(&simpler, 0)) >= 0.9 * best {
                (strategy, outcome) = (simpler, found);
            }
        }
        Some((strategy, outcome))
    }

    /// Simulates the next 16 strategies. Returns each of them with the names of the objectives for which it is the best
    /// one so far. If `climbs` is false, the strategies are random. If `climbs` is true, each strategy is made as
    /// follows: an objective is chosen from `among` at random, and the best known strategy for this objective is
    /// mutated. If the best known rating for the objective is zero or not finite, or if no strategy is known, the new
    /// strategy is random.
    ///
    /// # Panics
    ///
    /// Panics if `among` is empty.
    pub fn step(&mut self, climbs: bool, among: &[Objective]) -> Vec<(Strategy, Vec<&'static str>)> {
        let next = |search: &mut Self| {
            let objective = among[search.random.below(among.len() as u64) as usize].name;
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
