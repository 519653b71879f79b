//! Tests of word programs. A word program computes one output word of a kernel in small steps. The tests check that it
//! computes the same word as the reference kernel, and that no input makes it panic.

use crate::{
    dispute::judge::word_program::{
        StepContext, WORD_PROGRAMS, WordFault, WordMemory, WordPlace, WordProgram, kernels,
    },
    kernels::{
        Access,
        cases::{Case, CaseSource, cases, run_reference},
    },
};

struct Buffers<'a>(&'a [Vec<u32>], Vec<u32>);

impl WordMemory for Buffers<'_> {
    fn word(&mut self, binding: usize, at: usize) -> Result<u32, WordFault> {
        self.0[binding].get(at).copied().ok_or(WordFault::Format("an address"))
    }
    fn scratch(&mut self, at: usize) -> Result<u32, WordFault> {
        self.1.get(at).copied().ok_or(WordFault::Format("an address"))
    }
    fn set(&mut self, at: usize, word: u32) -> Result<(), WordFault> {
        *self.1.get_mut(at).ok_or(WordFault::Format("an address"))? = word;
        Ok(())
    }
}

/// Executes all steps of a word program, and returns the word that it computes and the word's saturation flag.
fn run(
    word_program: &WordProgram,
    params: &[u32],
    place: WordPlace,
    inputs: &[Vec<u32>],
) -> Result<(u32, bool), WordFault> {
    let mut memory = Buffers(inputs, vec![0; (word_program.scratch)(params)]);
    for at in 0..(word_program.steps)(params, place) {
        (word_program.step)(&mut StepContext { params, place, memory: &mut memory }, at)?;
    }
    Ok((memory.1[0], memory.1[1] != 0))
}

/// Returns, for each buffer that the kernel of a test case writes, its index in binding order and the number of words
/// that the kernel writes.
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
fn every_kernel_has_a_word_program() {
    let named: Vec<_> = WORD_PROGRAMS.iter().map(|word_program| word_program.kernel.name).collect();
    assert_eq!(named, kernels().map(|kernel| kernel.name).collect::<Vec<_>>());
}

#[test]
fn word_programs_equal_their_reference_kernels() {
    for word_program in WORD_PROGRAMS {
        let seed = 0x5eed;
        let mut words_seen = 0;
        for case in cases(word_program.kernel, seed) {
            let (after, saturated) = run_reference(&case);
            let all: usize = written(&case).iter().map(|(_, words)| words).sum();
            // all words of small cases, a few hundred words of large ones
            let stride = (all / 400).max(1) | 1;
            let mut any = false;
            for (binding, words) in written(&case) {
                for word in (0..words).step_by(stride) {
                    let place = WordPlace { binding: binding as u32, word: word as u64 };
                    let found = run(word_program, &case.params, place, &case.inputs);
                    let name = (word_program.kernel.name, &case.label, place);
                    let (found, flag) = found.unwrap_or_else(|fault| panic!("{name:?}: {fault}"));
                    assert_eq!(found, after[binding][word], "{name:?}");
                    assert!(saturated || !flag, "{name:?}");
                    any |= flag;
                    words_seen += 1;
                }
            }
            assert!(
                stride > 1 || any == saturated,
                "{}, {}: wrong saturation flag",
                word_program.kernel.name,
                case.label
            );
        }
        println!("{:28} {words_seen} words", word_program.kernel.name);
    }
}

#[test]
fn no_words_make_a_word_program_panic() {
    for word_program in WORD_PROGRAMS {
        let mut source = CaseSource::new(77);
        for case in cases(word_program.kernel, 1) {
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
                    let place = WordPlace { binding: binding as u32, word };
                    let _ = run(word_program, &case.params, place, &inputs);
                    let scratch = (word_program.scratch)(&case.params);
                    let mut memory = Buffers(&inputs, source.words(scratch));
                    let steps = (word_program.steps)(&case.params, place);
                    let at = source.within(0, steps as i32 - 1) as usize;
                    let _ =
                        (word_program.step)(&mut StepContext { params: &case.params, place, memory: &mut memory }, at);
                }
            }
        }
    }
}
