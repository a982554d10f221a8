<?php
// One page of a site: what is done is in `do`.
session_start();
switch ($_GET['do']) {
case 'login':
    $_SESSION['user'] = 'ada';
    $_SESSION['count'] = 0;
    echo 'hello ada';
    break;
case 'who':
    echo $_SESSION['user'] ?? 'nobody';
    break;
case 'count':
    $count = $_SESSION['count'];
    usleep(5000); // Whoever reads now without a lock loses a count.
    $_SESSION['count'] = $count + 1;
    echo $_SESSION['count'];
    break;
case 'rotate':
    session_regenerate_id(true);
    echo 'rotated';
    break;
case 'logout':
    session_destroy();
    echo 'bye';
    break;
}
