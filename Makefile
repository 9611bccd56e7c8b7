# The names of the commands, for those who have make; do.py is the one place that knows them.
.PHONY: demo test quick check bench nightly mutate
demo test quick check bench nightly mutate:
	@python3 do.py $@
