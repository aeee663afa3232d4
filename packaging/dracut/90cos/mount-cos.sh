#!/bin/sh
# Without systemd. What fails is tried again, and then dracut's emergency begins, which rd.emergency= decides about.
if getarg cos-img/filename= > /dev/null && ! ismounted "$NEWROOT"; then
	NEWROOT=$NEWROOT /usr/sbin/cos-root
fi
