//! Packets, dialogues and the running kernel as a judge. Never shipped.
