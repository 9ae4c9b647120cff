"""One program for each task: `transform` turns an input grid of the task into its output. Source: ours."""
