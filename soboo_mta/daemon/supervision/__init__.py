"""The process above the workers: it keeps them alive and replaces them one by one."""
