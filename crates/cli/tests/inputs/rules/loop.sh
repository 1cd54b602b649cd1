#!/bin/sh
iptables -P INPUT DROP
for port in 22 80; do
    iptables -A INPUT -p tcp --dport $port -j ACCEPT
done
