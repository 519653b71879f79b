// Exponentials, interpolated between entries of the kernel's buffer `tables`.

// Returns 2^(30 − below / 2^20), the exponential in Q30 of a score minus the maximum score. `below` is the maximum
// minus the score, in Q20.
fn exponential_of(below: u32) -> u32 {
    let index = exponential_index(below);
    return exponential_between(tables[index], tables[index + 1u], below);
}
