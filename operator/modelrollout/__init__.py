"""ModelRollout: releases new versions of machine-learning models safely, judged by their own metrics."""
