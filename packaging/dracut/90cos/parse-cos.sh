#!/bin/sh
# Where the boot entry names an image, that is the root, whatever root= says: nothing waits for a device with its label.
if getarg cos-img/filename= > /dev/null; then
	# shellcheck disable=SC2034
	root=cos
	# shellcheck disable=SC2034
	rootok=1
	rm -f -- "${hookdir:?}"/initqueue/finished/devexists-*by-label*COS_*.sh "$hookdir"/emergency/80-*by-label*COS_*.sh
fi
