"""vp-synth and vp-synth-b: generated videos of actions with exact private attributes, written as HMDB51 is."""
