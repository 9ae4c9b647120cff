"""Measured usefulness: does a memory help?"""
