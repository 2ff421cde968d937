"""Reports what was not run."""


def pytest_sessionfinish(session, exitstatus):
    """A file whose tests were all skipped ends with 77, which CTest reports as not run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    passed, skipped = reporter.stats.get("passed", []), reporter.stats.get("skipped", [])
    if exitstatus in (0, 5) and skipped and not passed:
        session.exitstatus = 77
