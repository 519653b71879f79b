//! Searches for strategies with which a coalition of dishonest accounts earns more than by honest work, or harms honest
//! accounts. The simulated ledger has the parameters `LedgerParams::NETWORK`. See
//! [`r3mes_wgpu::simulation::adversary`].

use r3mes_wgpu::{
    ledger::LedgerParams,
    simulation::adversary::{Conditions, OBJECTIVES, Objective, Outcome, Search, Strategy, play},
};
use std::{
    fs,
    io::Write,
    process::exit,
    thread,
    time::{Duration, Instant},
};

const USAGE: &str = "Searches for strategies of dishonest coalitions that pay, or that harm honest parties.

Usage: cargo run --release --example adversaries -- [OPTIONS]

  --games N          number of games to play: the first half is random, the rest mutates the best (default 200)
  --tasks N          gradients that the coalition submits in a game (default 16)
  --quota N          gradients in a round (default 4)
  --seed N           seed of the search and of its games (default 1)
  --shorten N        divides all deadlines by this number, so that games take fewer blocks (default 1)
  --threads N        games that are played at the same time (default: the number of processors)
  --objective NAME   mutates only the best strategies for this objective: profit, forging, loss, supply, capture, stall
  --resume FILE      first plays the strategies in this file, and appends each strategy that is found to it
  --replay STRATEGY  plays only this strategy, and its honest baseline
  --help             prints this text

A strategy is a text of genes, such as \"first=withheld own=match coins=500\". A gene that is left out is honest.
";

struct Args {
    games: u64,
    tasks: u64,
    quota: u32,
    seed: u64,
    shorten: u64,
    threads: usize,
    objective: Option<String>,
    resume: Option<String>,
    replay: Option<String>,
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    exit(2)
}

fn args() -> Args {
    let mut args = Args {
        games: 200,
        tasks: 16,
        quota: 4,
        seed: 1,
        shorten: 1,
        threads: 0,
        objective: None,
        resume: None,
        replay: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--help" {
            print!("{USAGE}\n{}", Strategy::help());
            exit(0)
        }
        let value = words.next().unwrap_or_else(|| fail(&format!("the option {word} needs a value; see --help")));
        let number = || {
            value.parse().unwrap_or_else(|_| fail(&format!("the value of {word} is {value:?}, but must be a number")))
        };
        match word.as_str() {
            "--games" => args.games = number(),
            "--tasks" => args.tasks = number(),
            "--quota" => args.quota = number() as u32,
            "--seed" => args.seed = number(),
            "--shorten" => args.shorten = number(),
            "--threads" => args.threads = number() as usize,
            "--objective" => args.objective = Some(value),
            "--resume" => args.resume = Some(value),
            "--replay" => args.replay = Some(value),
            _ => fail(&format!("{word} is not an option; see --help")),
        }
    }
    args
}

fn row(name: &str, outcome: &Outcome) {
    let Outcome { profit, loss, supply, blocks, rounds, captured, halted, kept, submitted, .. } = outcome;
    let halted = if *halted { " · the chain halts" } else { "" };
    println!(
        "{name:8} {profit:+.3} R per task · honest parties lose {loss:.3} R · {supply:.2} R minted per gradient · \
         {captured} of {rounds} rounds captured · {blocks} blocks · {submitted} submitted, {} right and {} wrong \
         gradients of all miners kept{halted}",
        kept[0], kept[1]
    );
}

fn main() {
    let Args { games, tasks, quota, seed, shorten, threads, objective, resume, replay } = args();
    if !(1..=10).contains(&shorten) {
        fail("--shorten must be 1 to 10");
    }
    let conditions = Conditions { quota, tasks, params: LedgerParams::NETWORK }.shortened(shorten);
    println!(
        "seed {seed}, {tasks} tasks, {quota} gradients per round. R is the reward for a gradient. An honest miner earns \
         +0.400 R per task.\n"
    );
    let parse = |text: &str| Strategy::parse(text).unwrap_or_else(|error| fail(&error));
    if let Some(text) = replay {
        let strategy = parse(&text);
        row("honest", &play(&conditions, &strategy.honest_baseline(), seed));
        return row("replay", &play(&conditions, &strategy, seed));
    }
    let wanted = |known: &&Objective| objective.as_ref().is_none_or(|wanted| wanted == known.name);
    let among: Vec<Objective> = OBJECTIVES.iter().filter(wanted).copied().collect();
    if among.is_empty() {
        fail("--objective names no objective; see --help");
    }
    let threads = if threads > 0 { threads } else { thread::available_parallelism().map_or(1, usize::from) };
    let mut search = Search::new(conditions, seed, threads);
    let start = Instant::now();
    search.offer(&[Strategy::honest()]);
    let earlier = resume.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    search.offer(&earlier.lines().map(parse).collect::<Vec<_>>());
    let mut file = resume.map(|path| {
        let file = fs::OpenOptions::new().create(true).append(true).open(&path);
        file.unwrap_or_else(|error| fail(&format!("opening {path}: {error}")))
    });
    let mut reported = Instant::now();
    while search.games() < games {
        for (strategy, improved) in search.step(search.games() >= games / 2, &among) {
            for objective in &improved {
                let best = search.best()[objective].0;
                println!("the strategy {strategy} reaches a new best value of the objective {objective}: {best:+.3}");
            }
            if let Some(file) = file.as_mut().filter(|_| !improved.is_empty())
                && let Err(error) = writeln!(file, "{strategy}")
            {
                fail(&format!("the strategy could not be written to the --resume file: {error}"));
            }
        }
        if reported.elapsed() > Duration::from_secs(60) {
            eprintln!(
                "{} games played, {:.1} per second",
                search.games(),
                search.games() as f64 / start.elapsed().as_secs_f64()
            );
            reported = Instant::now();
        }
    }
    println!(
        "\n{} games played, {:.1} per second",
        search.games(),
        search.games() as f64 / start.elapsed().as_secs_f64()
    );
    for objective in among {
        let Some((value, best, _)) = search.best().get(objective.name).cloned() else { continue };
        println!("\n{} {value:+.3}: {best}", objective.name);
        let Some((strategy, outcome)) = search.simplified(objective) else { continue };
        println!("the simplified strategy {strategy} reaches at least 90 % of the best value of this objective");
        row("honest", &search.baseline(&strategy, 0));
        row("found", &outcome);
    }
}
