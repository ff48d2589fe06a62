"""Side-by-side measurements on the real stack. Not in the wheel; imported by nothing in the product."""
