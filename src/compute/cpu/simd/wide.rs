//! Exact inner products of rows of wide values, which are integers ≤ 2^14 in magnitude. A row stores two neighboring
//! values in each word, as int16. The other operand is a *panel*: [`COLUMNS`] columns, of which each word also stores
//! two values. A *step* multiplies one word of a row by one word of each column.
//!
//! An inner product does not fit in i32, so each is computed as two i32 sums, which together determine it. The vector
//! instructions multiply and add pairs of int16 to i32. The sum of [`GROUP`] = 3 steps has six terms, each at most 2^28
//! in magnitude, so it is less than 2^31 and exact. Each such sum `t` is added to both of these:
//! - `low = Σ t`, which wraps modulo 2^32;
//! - `high = Σ floor(t / 2^16)`.
//!
//! Each `t` is at least `2^16 · floor(t / 2^16)`, and less than that number plus 2^16. The inner product therefore
//! exceeds `2^16 · high` by a non-negative number, which is less than 2^16 times the number of sums `t`. With fewer than
//! 2^16 steps, there are fewer than 2^16 sums, so this number is less than 2^32. It is `low − 2^16 · high` modulo 2^32.
//! Because `t / 2^16` is at most 24,576 in magnitude, `high` fits in i32.

/// The number of columns of a panel.
pub(in crate::compute::cpu) const COLUMNS: usize = 16;

/// The number of steps whose products are added before their sum is split: 3 steps of two products each.
pub(super) const GROUP: usize = 3;

/// The inner products that each level (instruction set) computes in vector registers.
pub(in crate::compute::cpu) trait WideTile {
    /// The largest number of rows whose inner products are held in vector registers.
    const ROWS: usize;

    /// Writes the inner product of row `r` and column `c` of a panel to `dots[r][c]`:
    /// `Σ_s (rows[r, s].int16(0) · panel[s][c].int16(0) + rows[r, s].int16(1) · panel[s][c].int16(1))`. There are
    /// `dots.len()` rows, from 1 to [`ROWS`](Self::ROWS). `stride` is the number of words from one row in `rows` to the
    /// next. All values must be ≤ 2^14 in magnitude, and there must be fewer than 2^16 steps.
    ///
    /// # Safety
    /// The processor must support the instruction set of this level.
    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[[u32; COLUMNS]], dots: &mut [[i64; COLUMNS]]);
}

/// Writes the inner products of `dots.len()` rows and the columns of a panel to `dots`, as [`WideTile::multiply`] does,
/// but for any number of rows.
///
/// # Safety
/// The processor must support the instruction set of `T`.
#[inline(always)]
pub(in crate::compute::cpu) unsafe fn multiply<T: WideTile>(
    rows: &[u32],
    stride: usize,
    panel: &[[u32; COLUMNS]],
    dots: &mut [[i64; COLUMNS]],
) {
    debug_assert!(panel.len() < 1 << 16);
    for (tile, dots) in dots.chunks_mut(T::ROWS).enumerate() {
        // SAFETY: the caller guarantees that the processor supports the instruction set of `T`.
        unsafe { T::multiply(&rows[tile * T::ROWS * stride..], stride, panel, dots) };
    }
}

/// The inner products for instruction sets without a tile of their own. The compiler may vectorize them.
#[cfg(not(any(target_arch = "aarch64", all(target_arch = "wasm32", target_feature = "simd128"))))]
pub(in crate::compute::cpu) struct Portable;

#[cfg(not(any(target_arch = "aarch64", all(target_arch = "wasm32", target_feature = "simd128"))))]
impl WideTile for Portable {
    const ROWS: usize = 4;

    unsafe fn multiply(rows: &[u32], stride: usize, panel: &[[u32; COLUMNS]], dots: &mut [[i64; COLUMNS]]) {
        assert!(rows.len() >= (dots.len() - 1) * stride + panel.len());
        for (row, dots) in rows.chunks(stride).zip(dots) {
            *dots = [0; COLUMNS];
            for (word, columns) in row.iter().zip(panel) {
                for (dot, column) in dots.iter_mut().zip(columns) {
                    let product = |shift: u32| i64::from((word >> shift) as i16) * i64::from((column >> shift) as i16);
                    *dot += product(0) + product(16);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};
    use crate::numbers::rng::threefry;

    /// Computes the inner products with the tile of each level that this processor supports.
    fn by_level(rows: &[u32], stride: usize, panel: &[[u32; COLUMNS]], count: usize) -> Vec<Vec<[i64; COLUMNS]>> {
        let levels = Level::available().into_iter().filter_map(|level| {
            let mut dots = vec![[1; COLUMNS]; count];
            // SAFETY: the processor supports the level.
            unsafe {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => multiply::<super::super::Avx512>(rows, stride, panel, &mut dots),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => multiply::<super::super::Avx2>(rows, stride, panel, &mut dots),
                    Level::Scalar => multiply::<super::super::Baseline>(rows, stride, panel, &mut dots),
                    _ => return None,
                }
            }
            Some(dots)
        });
        levels.collect()
    }

    #[test]
    fn inner_products_are_exact_for_all_lengths_and_the_largest_values() {
        let pair = |pair: [i16; 2]| u32::from(pair[0] as u16) | u32::from(pair[1] as u16) << 16;
        let random = |stream| {
            move |row: usize, step: usize| {
                let words = threefry([7, stream], [row as u32, step as u32]);
                words.map(|word| (word % 32_769) as i16 as i32 - 16_384).map(|value| value as i16)
            }
        };
        type Values = Box<dyn Fn(usize, usize) -> [i16; 2]>;
        let constant = |value: i16| -> Values { Box::new(move |_, _| [value; 2]) };
        let alternating: Values =
            Box::new(|row, step| if (row + step) % 2 == 0 { [16_384, -16_384] } else { [-16_384, 16_384] });
        let operands: [(Values, Values); 5] = [
            (Box::new(random(1)), Box::new(random(2))),
            (constant(16_384), constant(16_384)),
            (constant(-16_384), constant(16_384)),
            (constant(-16_384), constant(-16_384)),
            (alternating, constant(16_384)),
        ];
        for (row_values, column_values) in operands {
            for (count, steps) in (1..=11).map(|count| (count, 16)).chain((1..=131).map(|steps| (3, steps))) {
                let stride = steps + 2;
                let rows: Vec<u32> = (0..count * stride).map(|at| pair(row_values(at / stride, at % stride))).collect();
                let panel: Vec<[u32; COLUMNS]> =
                    (0..steps).map(|step| std::array::from_fn(|column| pair(column_values(column, step)))).collect();
                let exact = |row: usize, column: usize| -> i64 {
                    let term = |step: usize| {
                        let (row, column) = (row_values(row, step), column_values(column, step));
                        i64::from(row[0]) * i64::from(column[0]) + i64::from(row[1]) * i64::from(column[1])
                    };
                    (0..steps).map(term).sum()
                };
                let expected: Vec<[i64; COLUMNS]> =
                    (0..count).map(|row| std::array::from_fn(|column| exact(row, column))).collect();
                for (level, dots) in by_level(&rows, stride, &panel, count).iter().enumerate() {
                    assert_eq!(*dots, expected, "level {level}, {count} rows, {steps} steps");
                }
            }
        }
    }
}
