//! Numbers in rows, and large bytes.

use crate::{MergeOp, Number, NumberKind, Numbers, object_type};
use abide_net::Bytes;

object_type! {
    /// A matrix of numbers, all integers or all floats; at most 2^21 of them. Arguments of the other kind are taken where they
    /// mean the same. An integer that overflows is an error, and nothing is changed then.
    pub mod matrix = 17, "Matrix";
    creation { rows: u32, cols: u32, kind: NumberKind = NumberKind::F64, fill: Number = Number::I64(0) }
    methods {
        /// Number of rows.
        0 Read Rows = rows() -> u32;
        /// Number of columns.
        1 Read Cols = cols() -> u32;
        /// Whether it holds integers or floats.
        2 Read Kind = kind() -> NumberKind;
        /// The number at row `i` and column `j`.
        3 Read Get = get(i: u32, j: u32) -> Number;
        /// Replaces the number at row `i` and column `j`, and returns the one before.
        4 Write Set = set(i: u32, j: u32, value: Number) -> Number;
        /// A row.
        5 Read Row = row(i: u32) -> Numbers;
        /// A column.
        6 Read Col = col(j: u32) -> Numbers;
        /// Replaces a row.
        7 Write SetRow = set_row(i: u32, values: Numbers);
        /// Joins the number at row `i` and column `j` with `x`, and returns the one after.
        8 Write Compute = compute(i: u32, j: u32, op: MergeOp, x: Number) -> Number;
        /// Joins each number with the one in its place of a matrix of the same shape, row after row.
        9 Write Combine = combine(values: Numbers, op: MergeOp);
        /// Sets every number.
        10 Write Fill = fill(value: Number);
        /// All numbers, row after row.
        11 Read ToVec = to_vec() -> Numbers;
    }
}

object_type! {
    /// A vector of numbers, all integers or all floats; at most 2^21 of them. Arguments of the other kind are taken where they
    /// mean the same. An integer that overflows is an error, and nothing is changed then.
    pub mod vector = 18, "Vector";
    creation { len: u32, kind: NumberKind = NumberKind::F64, fill: Number = Number::I64(0) }
    methods {
        /// How many numbers.
        0 Read Len = len() -> u32;
        /// Whether it holds integers or floats.
        1 Read Kind = kind() -> NumberKind;
        /// The number at an index.
        2 Read Get = get(index: u32) -> Number;
        /// Replaces the number at an index, and returns the one before.
        3 Write Set = set(index: u32, value: Number) -> Number;
        /// The numbers from `start` to before `end`.
        4 Read GetRange = get_range(start: u32, end: u32) -> Numbers;
        /// Replaces the numbers from `start` on.
        5 Write SetRange = set_range(start: u32, values: Numbers);
        /// Adds a vector of the same length.
        6 Write AddAssign = add_assign(values: Numbers);
        /// Multiplies each number by this one.
        7 Write Scale = scale(factor: Number);
        /// The sum of the products with a vector of the same length: of floats, added from the first to the last; of integers, exact,
        /// and an error only if it needs more than 64 bits in the end.
        8 Read Dot = dot(values: Numbers) -> Number;
        /// Joins each number with the one in its place of a vector of the same length.
        9 Write Combine = combine(values: Numbers, op: MergeOp);
        /// Sets every number.
        10 Write Fill = fill(value: Number);
        /// All numbers.
        11 Read ToVec = to_vec() -> Numbers;
    }
}

object_type! {
    /// Bytes as of a file, read and written in ranges; at most 16 MiB.
    pub mod blob = 19, "Blob";
    creation {}
    methods {
        /// How many bytes.
        0 Read Len = len() -> u64;
        /// Replaces all bytes.
        1 Write Write = write(bytes: Bytes);
        /// All bytes.
        2 Read Read = read() -> Bytes;
        /// Up to `len` bytes from `offset`, as many as there are. `OutOfBounds` past the end.
        3 Read GetRange = get_range(offset: u64, len: u64) -> Bytes;
        /// Writes bytes from `offset` on, also past the end, to which there must be no gap. Returns the length after.
        4 Write SetRange = set_range(offset: u64, bytes: Bytes) -> u64;
        /// Adds bytes at the end, and returns the length after.
        5 Write Append = append(bytes: Bytes) -> u64;
        /// Shortens to `len` bytes. `OutOfBounds` if there are not so many.
        6 Write Truncate = truncate(len: u64);
        /// The SHA-256 of all bytes (FIPS 180-4), in hexadecimal.
        7 Read Digest = digest() -> String;
    }
}
