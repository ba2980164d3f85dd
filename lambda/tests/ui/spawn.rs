//! Arguments that do not fit.

use abide_lambda::{CloudThread, cloud_function};
use std::convert::Infallible;

#[cloud_function]
fn add(a: u32, b: u32) -> Result<u32, Infallible> {
    Ok(a + b)
}

fn main() {
    let fits = CloudThread::spawn(add, (1, 2));
    let too_few = CloudThread::spawn(add, (1,));
    let other_type = CloudThread::spawn(add, (1, "two"));
    let no_tuple = CloudThread::spawn(add, 1);
    let _ = (fits.join(), too_few.join(), other_type.join(), no_tuple.join());
}
