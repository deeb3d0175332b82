//! The scheduler: which rule runs over which window, and what it finds.
