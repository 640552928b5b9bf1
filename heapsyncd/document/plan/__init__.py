"""Decide which node becomes which, beside what others did to them, before anything is built."""
