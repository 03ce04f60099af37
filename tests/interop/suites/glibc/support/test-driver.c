/* Runs the test that includes it. */
int
main(int argc, char **argv)
{
    int result;

    PREPARE(argc, argv);
    result = do_test();
    unlink(name);
    return result != 0 || verify_failed;
}
