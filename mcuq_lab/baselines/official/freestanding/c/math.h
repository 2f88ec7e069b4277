/* Empty: integer kernels include it without need, and nothing of it is linked. */
