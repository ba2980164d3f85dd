//! An attribute cannot see the block that it stands in.

use abide_lambda::cloud_function;

struct Type;

impl Type {
    #[cloud_function]
    fn associated() -> Result<(), String> {
        Ok(())
    }
}

fn main() {}
