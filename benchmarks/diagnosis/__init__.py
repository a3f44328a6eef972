"""Faults that are put into healthy trainings, and trainings that are healthy: is each named, and is there silence?"""
