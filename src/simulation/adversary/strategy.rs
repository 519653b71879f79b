//! Strategies of a coalition (a group of dishonest accounts). A strategy is a list of settings, called genes. As text,
//! it is `name=value` for each gene whose value differs from that of honest accounts.

use super::world::Random;
use std::fmt;

/// The genes (settings) of a strategy, each as (name, description, possible values). The first value of each gene is
/// that of honest accounts without a stake.
const GENES: &[(&str, &str, &[&str])] = &[
    ("miners", "addresses that mine at a time", &["1", "2", "4", "16", "64"]),
    (
        "wallet",
        "what an address owns: coins for bonds, a stake, nothing, or nothing and used for one task only",
        &["coins", "stake", "empty", "fresh"],
    ),
    ("first", "what the first submissions of an address are", WORK),
    ("count", "how many submissions of an address are the first ones", &["0", "1", "4", "16", "17"]),
    ("then", "what the later submissions of an address are", WORK),
    ("every", "only every n-th of the later submissions is so, the others are honest", &["1", "2", "4", "10"]),
    (
        "pace",
        "when an address claims again: after its gradient is accepted or rejected, or at once",
        &["decided", "flood"],
    ),
    ("join", "transactions for a claim and its submission", &["two", "one"]),
    (
        "serve",
        "which operators can fetch a withheld artifact, one digit each",
        &["00000", "00001", "00011", "00111", "01111", "11111"],
    ),
    ("after", "blocks until all operators can fetch it, 0 for never", &["0", "5", "20", "45", "80", "200", "400"]),
    ("manifest", "whether all operators can fetch its manifest", &["yes", "no"]),
    ("absence", "what its source answers until then", &["missing", "busy"]),
    (
        "coins",
        "stake of the coalition's verifiers and proposers together, in coins",
        &["0", "100", "500", "1000", "2400"],
    ),
    ("nodes", "nodes among which the stake is split", &["1", "2", "5", "10"]),
    ("own", "what its verifiers attest about its gradients", FINDINGS),
    ("others", "what they attest about other gradients", FINDINGS),
    ("vote", "what its validators vote about its gradients", FINDINGS),
    ("against", "what its validators vote about other gradients", FINDINGS),
    ("appeal", "findings of a mismatch against which it appeals", &["none", "own", "all"]),
    ("defend", "whether it answers for its gradients in disputes", &["no", "yes"]),
    ("grief", "disputes that it opens about right gradients of others", &["0", "1", "4"]),
    (
        "propose",
        "the aggregate that its proposers reveal: of all gradients, none, all but another adapter, only its own",
        &["honest", "empty", "other", "partial", "silent"],
    ),
    ("stuff", "blocks that it fills with large transactions", &["0", "30", "70", "130", "300", "600"]),
    ("when", "when it fills them: as others are sampled, or as the round can be aggregated", &["sampled", "full"]),
    ("grind", "candidates for each block that it proposes", &["1", "4", "16"]),
    (
        "beacon",
        "when its validators reveal their numbers for the beacon: at once, never, or last, and only those whose random \
         value is the best",
        &["honest", "silent", "choose"],
    ),
    ("leave", "submissions after which an address unregisters to cash its escrow, 0 for never", &["0", "1", "4", "16"]),
    ("leaves", "how often it does so", &["always", "once"]),
];

/// The kinds of submissions, in this order: the correct gradient; a wrong gradient; the correct gradient with a
/// withheld artifact; a wrong gradient with a withheld artifact; a random commitment without an artifact.
const WORK: &[&str] = &["honest", "forged", "withheld", "hidden", "garbage"];

/// What verifiers attest. `honest`: what they find when they recompute the gradient. `silent`: nothing. The other
/// values are findings that verifiers attest without recomputing the gradient.
const FINDINGS: &[&str] = &["honest", "match", "mismatch", "unavailable", "silent"];

/// The strategy of a coalition of dishonest accounts: the index of a value for each gene (setting).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Strategy(Vec<u8>);

impl Strategy {
    /// Returns the strategy of a coalition whose accounts are all honest and have no stake.
    pub fn honest() -> Self {
        Self(vec![0; GENES.len()])
    }

    /// Parses a strategy from the text that [`fmt::Display`] writes. Returns an error message if the text is invalid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut strategy = Self::honest();
        for part in text.split_whitespace().filter(|part| *part != "honest") {
            let (name, value) =
                part.split_once('=').ok_or_else(|| format!("the setting {part:?} is not of the form name=value"))?;
            let gene = GENES
                .iter()
                .position(|gene| gene.0 == name)
                .ok_or_else(|| format!("{name:?} is not a setting of a strategy"))?;
            let values = GENES[gene].2;
            let value = values.iter().position(|known| *known == value);
            strategy.0[gene] = value.ok_or_else(|| {
                format!("the setting {part:?} is invalid: the value of {name} must be one of {}", values.join(", "))
            })? as u8;
        }
        Ok(strategy)
    }

    /// Returns a description of all genes (settings) and their values, as text for the user.
    pub fn help() -> String {
        GENES.iter().map(|(name, what, values)| format!("  {name:9} {what}: {}\n", values.join(", "))).collect()
    }

    /// Returns a random strategy. A probability from 1/2 to 1/8 is chosen at random. With this probability, each gene
    /// (setting) gets a random value; otherwise, it gets the honest value.
    pub fn random(random: &mut Random) -> Self {
        let rarity = 2 + random.below(7);
        let gene = |(_, _, values): &(&str, &str, &[&str])| match random.below(rarity) {
            0 => random.below(values.len() as u64) as u8,
            _ => 0,
        };
        Self(GENES.iter().map(gene).collect())
    }

    /// Returns a copy in which up to three randomly chosen genes (settings) have new random values.
    pub fn mutated(&self, random: &mut Random) -> Self {
        let mut mutated = self.clone();
        for _ in 0..1 + random.below(3) {
            let gene = random.below(GENES.len() as u64) as usize;
            mutated.0[gene] = random.below(GENES[gene].2.len() as u64) as u8;
        }
        mutated
    }

    /// Returns the indexes of the genes (settings) that do not have the honest value.
    pub(super) fn dishonest_genes(&self) -> Vec<usize> {
        (0..GENES.len()).filter(|gene| self.0[*gene] > 0).collect()
    }

    /// Returns a copy in which the gene (setting) with this index has the honest value.
    pub(super) fn without(&self, gene: usize) -> Self {
        let mut without = self.clone();
        without.0[gene] = 0;
        without
    }

    /// Returns the strategy of honest accounts that have as many addresses, coins and nodes as the coalition of this
    /// strategy. The outcome of this strategy is compared with the outcome of the honest one.
    pub fn honest_baseline(&self) -> Self {
        let endowment = ["miners", "wallet", "coins", "nodes"];
        let gene = |(gene, value): (usize, &u8)| if endowment.contains(&GENES[gene].0) { *value } else { 0 };
        let mut baseline = Self(self.0.iter().enumerate().map(gene).collect());
        if baseline.get("wallet") == "fresh" {
            baseline.0[1] = 2;
        }
        baseline
    }

    /// Returns the value of the gene (setting) with this name. Panics if there is no such gene.
    pub(super) fn get(&self, name: &str) -> &'static str {
        let gene = GENES.iter().position(|gene| gene.0 == name).expect("the name of a gene");
        GENES[gene].2[usize::from(self.0[gene])]
    }

    /// Returns the value of the gene (setting) with this name, as a number. Panics if there is no such gene, or if its
    /// value is not a number.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.get(name).parse().expect("a gene with numbers")
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.0.iter().zip(GENES).filter(|(value, _)| **value > 0);
        let named: Vec<String> =
            named.map(|(value, gene)| format!("{}={}", gene.0, gene.2[usize::from(*value)])).collect();
        f.write_str(if named.is_empty() { "honest" } else { "" })?;
        f.write_str(&named.join(" "))
    }
}
