"""Whether hints, cases and studies hold together, and what a person should know of them."""
