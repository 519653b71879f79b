//! A tape is its kernel's twin, word by word, and stands every word that it may be shown.

use crate::{
    dispute::tape::{Desk, Fault, Memory, Place, TAPES, Tape, kernels},
    kernels::{
        Access,
        cases::{Case, Source, cases, run_twin},
    },
};

struct Buffers<'a>(&'a [Vec<u32>], Vec<u32>);

impl Memory for Buffers<'_> {
    fn word(&mut self, binding: usize, at: usize) -> Result<u32, Fault> {
        self.0[binding].get(at).copied().ok_or(Fault::Format("an address"))
    }
    fn scratch(&mut self, at: usize) -> Result<u32, Fault> {
        self.1.get(at).copied().ok_or(Fault::Format("an address"))
    }
    fn set(&mut self, at: usize, word: u32) -> Result<(), Fault> {
        *self.1.get_mut(at).ok_or(Fault::Format("an address"))? = word;
        Ok(())
    }
}

fn take(tape: &Tape, params: &[u32], place: Place, inputs: &[Vec<u32>]) -> Result<(u32, bool), Fault> {
    let mut memory = Buffers(inputs, vec![0; (tape.scratch)(params)]);
    for at in 0..(tape.steps)(params, place) {
        (tape.step)(&mut Desk { params, place, memory: &mut memory }, at)?;
    }
    Ok((memory.1[0], memory.1[1] != 0))
}

/// The words that a case writes, and each buffer's binding.
fn written(case: &Case) -> Vec<(usize, usize)> {
    let bound = case.kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
    let units = (case.kernel.units)(&case.params);
    let words = bound.enumerate().filter_map(|(at, binding)| match binding.access {
        Access::Write(each) => Some((at, each(&case.params) * units)),
        _ => None,
    });
    words.collect()
}

#[test]
fn every_kernel_has_a_tape() {
    let named: Vec<_> = TAPES.iter().map(|tape| tape.kernel.name).collect();
    assert_eq!(named, kernels().map(|kernel| kernel.name).collect::<Vec<_>>());
}

#[test]
fn tapes_are_twins() {
    for tape in TAPES {
        let seed = 0x5eed;
        let mut words_seen = 0;
        for case in cases(tape.kernel, seed) {
            let (after, saturated) = run_twin(&case);
            let all: usize = written(&case).iter().map(|(_, words)| words).sum();
            // all words of small cases, some hundred of large ones
            let stride = (all / 400).max(1) | 1;
            let mut any = false;
            for (binding, words) in written(&case) {
                for word in (0..words).step_by(stride) {
                    let place = Place { binding: binding as u32, word: word as u64 };
                    let found = take(tape, &case.params, place, &case.inputs);
                    let name = (tape.kernel.name, &case.label, place);
                    let (found, flag) = found.unwrap_or_else(|fault| panic!("{name:?}: {fault}"));
                    assert_eq!(found, after[binding][word], "{name:?}");
                    assert!(saturated || !flag, "{name:?}");
                    any |= flag;
                    words_seen += 1;
                }
            }
            assert!(stride > 1 || any == saturated, "{} {}", tape.kernel.name, case.label);
        }
        println!("{:28} {words_seen} words", tape.kernel.name);
    }
}

#[test]
fn no_words_make_a_tape_panic() {
    for tape in TAPES {
        let mut source = Source::new(77);
        for case in cases(tape.kernel, 1) {
            for round in 0..60 {
                let mut inputs = case.inputs.clone();
                for words in &mut inputs {
                    for _ in 0..=words.len() / 7 {
                        let at = source.within(0, words.len() as i32 - 1) as usize;
                        words[at] = match round % 3 {
                            0 => source.word(),
                            1 => [0, 1, u32::MAX, 1 << 31, (1 << 31) - 1, 1 << 30][source.within(0, 5) as usize],
                            _ => words[at] ^ 1 << source.within(0, 31),
                        };
                    }
                }
                for (binding, words) in written(&case) {
                    let word = source.within(0, words as i32 - 1) as u64;
                    let place = Place { binding: binding as u32, word };
                    let _ = take(tape, &case.params, place, &inputs);
                    let scratch = (tape.scratch)(&case.params);
                    let mut memory = Buffers(&inputs, source.words(scratch));
                    let steps = (tape.steps)(&case.params, place);
                    let at = source.within(0, steps as i32 - 1) as usize;
                    let _ = (tape.step)(&mut Desk { params: &case.params, place, memory: &mut memory }, at);
                }
            }
        }
    }
}
