//! What a scripted server does, and what becomes of it.
