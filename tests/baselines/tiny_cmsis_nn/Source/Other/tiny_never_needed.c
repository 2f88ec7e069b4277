/* Only the files that a network needs are compiled; this one must not be. */
#error "a file that no network needs was compiled"

int tiny_never_needed(void)
{
    return 0;
}
